/** gzip in both directions, by the browser itself, with word of how far it is. */

const UNREADABLE =
  "A file cannot be read to its end: it was changed, or its disk was taken out. Choose it again, and send it again.";

/**
 * @callback OnBytes
 * @param {number} bytes that went through so far
 */

/**
 * Read a stream into a blob, which the browser may keep on its disk.
 * @param {ReadableStream<Uint8Array>} stream
 * @returns {Promise<Blob>}
 */
export function collect(stream) {
  return new Response(stream).blob();
}

/**
 * Pass a stream on, and tell how much of it went by.
 * @param {ReadableStream<Uint8Array>} stream
 * @param {OnBytes} [onBytes]
 */
export function watched(stream, onBytes = () => {}) {
  let bytes = 0;
  return stream.pipeThrough(
    new TransformStream({
      transform(chunk, controller) {
        bytes += chunk.byteLength;
        onBytes(bytes);
        controller.enqueue(chunk);
      },
    }),
  );
}

/**
 * Compress a blob into one gzip member.
 * @param {Blob} blob
 * @param {OnBytes} [onBytes]
 * @param {AbortSignal} [signal] stops it; the promise is then rejected with its reason
 * @returns {Promise<Blob>}
 */
export async function gzip(blob, onBytes, signal) {
  const packed = watched(blob.stream(), (bytes) => {
    signal?.throwIfAborted();
    onBytes?.(bytes);
  }).pipeThrough(new CompressionStream("gzip"));
  try {
    return await collect(packed);
  } catch {
    signal?.throwIfAborted(); // browsers reject with an error of their own, whatever the stream ended with
    throw new Error(UNREADABLE);
  }
}

/** The beginning of what a blob holds, unpacked if it is gzip; less where there is less. @param {Blob} blob @param {number} count */
export async function firstBytes(blob, count) {
  const [first, second] = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  const packed = first === 0x1f && second === 0x8b;
  if (!packed) return blob.slice(0, count).arrayBuffer();
  const reader = blob.stream().pipeThrough(new DecompressionStream("gzip")).getReader();
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const parts = [];
  for (let bytes = 0; bytes < count;) {
    const { value, done } = await reader.read();
    if (done) break;
    parts.push(value);
    bytes += value.byteLength;
  }
  void reader.cancel().catch(() => {}); // what follows is not looked at
  return new Blob(parts).slice(0, count).arrayBuffer();
}

/**
 * @param {Blob} blob
 * @returns {Promise<Blob>}
 */
export function gunzip(blob) {
  return collect(blob.stream().pipeThrough(new DecompressionStream("gzip")));
}
