/** The part of NiiVue 0.69.0 that the page uses, described by hand: the bundle comes without types. */

export {};

declare global {
  /** The names that the bundle leaves with the window. */
  var niivue: NiiVueBundle;

  interface NiiVueBundle {
    Niivue: new (options: Record<string, unknown>) => NiiVue;
    NVImage: { loadFromFile(of: { file: File }): Promise<NiiVueImage> };
    SHOW_RENDER: { ALWAYS: number };
    MULTIPLANAR_TYPE: { GRID: number };
  }

  interface NiiVue {
    gl: WebGL2RenderingContext | null;
    volumes: NiiVueImage[];
    opts: { sliceType: number };
    /** The cross hair's place: fractions of the volume, left to right, back to front, feet to head. */
    scene: { crosshairPos: ArrayLike<number> };
    sliceTypeMultiplanar: number;
    sliceTypeAxial: number;
    sliceTypeCoronal: number;
    sliceTypeSagittal: number;
    sliceTypeRender: number;
    onLocationChange: (place: NiiVueLocation) => void;
    onIntensityChange: () => void;
    attachToCanvas(canvas: HTMLCanvasElement): Promise<unknown>;
    addVolume(image: NiiVueImage): void;
    removeVolume(image: NiiVueImage): void;
    updateGLVolume(): void;
    drawScene(): void;
    createOnLocationChange(): void;
    /** From mm to fractions of a volume; the mm are RAS where `inWorld`, else along the volume's own axes. */
    mm2frac(mm: number[], volume: number, inWorld: boolean): ArrayLike<number>;
    cleanup(): void;
  }

  interface NiiVueImage {
    /** The voxels, i fastest. */
    img: ArrayLike<number>;
    hdr: { dims: number[]; affine: number[][] };
    /** Number of dimensions, then the voxels along right, anterior, superior. */
    dimsRAS: number[];
    opacity: number;
    /** The window's ends. */
    cal_min: number;
    cal_max: number;
    global_min: number;
    global_max: number;
    setColormapLabel(colours: {
      R: number[];
      G: number[];
      B: number[];
      A: number[];
      I: number[];
      labels: string[];
    }): void;
  }

  /** A place of the cross hair; one value of each volume. */
  interface NiiVueLocation {
    mm: Iterable<number>;
    frac: ArrayLike<number>;
    values: { value: number }[];
  }
}
