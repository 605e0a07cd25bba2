/** The part of NiiVue 0.69.0 that the page uses, described by hand: the bundle comes without types. */

export {};

declare global {
  /** The names that the bundle leaves with the window. */
  var niivue: NiiVueBundle;

  interface NiiVueBundle {
    Niivue: new (options: Record<string, unknown>) => NiiVue;
    NVImage: { loadFromFile(of: { file: File; name: string; opacity: number }): Promise<NiiVueImage> };
    SHOW_RENDER: { ALWAYS: number };
    MULTIPLANAR_TYPE: { GRID: number };
  }

  interface NiiVue {
    gl: WebGL2RenderingContext | null;
    volumes: NiiVueImage[];
    opts: { sliceType: number };
    /** The cross hair's place: fractions of the volume, left to right, back to front, feet to head. */
    scene: { crosshairPos: number[] };
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
    setSliceType(type: number): void;
    setOpacity(place: number, opacity: number): void;
    drawScene(): void;
    createOnLocationChange(): void;
    /** Between RAS in mm and fractions of the volume. */
    mm2frac(mm: number[]): number[];
    frac2mm(fractions: number[]): number[];
    cleanup(): void;
  }

  interface NiiVueImage {
    /** The voxels, i fastest. */
    img: ArrayLike<number>;
    hdr: { dims: number[]; affine: number[][] };
    /** Number of dimensions, then the voxels along right, anterior, superior. */
    dimsRAS: number[];
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
    mm: number[];
    frac: number[];
    values: { value: number }[];
  }
}
