/** gzip in both directions, by the browser itself, with word of how far it is. */

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
 * @param {AbortSignal} [signal] stops it; the promise is then rejected
 * @returns {Promise<Blob>}
 */
export function gzip(blob, onBytes, signal) {
  return collect(
    watched(blob.stream(), (bytes) => {
      signal?.throwIfAborted();
      onBytes?.(bytes);
    }).pipeThrough(new CompressionStream("gzip")),
  );
}

/**
 * @param {Blob} blob
 * @returns {Promise<Blob>}
 */
export function gunzip(blob) {
  return collect(blob.stream().pipeThrough(new DecompressionStream("gzip")));
}
