/** The part of NiiVue 0.69.0 that the page uses, described by hand: the bundle comes without types. */

export {};

declare global {
  /** The names that the bundle leaves with the window. */
  var niivue: NiiVueBundle;

  interface NiiVueBundle {
    Niivue: new (options: Record<string, unknown>) => NiiVue;
    NVImage: {
      loadFromFile(of: { file: File }): Promise<NiiVueImage>;
      /** `init` takes what a file says of its voxels; their bytes come last. */
      prototype: { init(this: NiiVueImage, ...given: any[]): void };
    };
  }

  interface NiiVue {
    gl: WebGL2RenderingContext | null;
    volumes: NiiVueImage[];
    /** The lowest volume, and the others. */
    back: NiiVueImage;
    overlays: NiiVueImage[];
    opts: { sliceType: number };
    /** The cross hair's place: fractions of the volume, left to right, back to front, feet to head; the view in 3D. */
    scene: {
      crosshairPos: ArrayLike<number> & Iterable<number>;
      renderAzimuth: number;
      renderElevation: number;
      volScaleMultiplier: number;
    };
    /** A point of the canvas at which the next drawing looks for the volume's surface, where it is told to. */
    mousePos: number[];
    uiData: { mouseDepthPicker: boolean };
    sliceTypeRender: number;
    attachToCanvas(canvas: OffscreenCanvas): Promise<unknown>;
    initText(): Promise<void>;
    updateGLVolume(): void;
    drawScene(): void;
  }

  interface NiiVueImage {
    /** The voxels, i fastest. */
    img: import("../../volume.js").Voxels;
    hdr: {
      dims: number[];
      affine: number[][];
      scl_slope: number;
      scl_inter: number;
      datatypeCode: number;
      vox_offset: number;
      cal_min: number;
      cal_max: number;
    };
    /** The page's own: how many bytes the voxels had in the file. */
    storedBytes: number;
    /** For right, anterior, superior the axis of the file, from 1; negative where it runs the other way. */
    permRAS: number[];
    /** The window's ends. */
    cal_min: number;
    cal_max: number;
    setColormapLabel(colours: {
      R: number[];
      G: number[];
      B: number[];
      A: number[];
      I: number[];
      labels: string[];
    }): void;
  }
}
