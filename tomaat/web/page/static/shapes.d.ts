/** The JSON that the API sends and the page reads, as `/openapi.json` describes it. All of it stands here, and nothing else. */

/** An argument of a service; each type has rules of its own. */
export interface Input {
  id: string;
  name: string;
  description: string;
  type: "volume" | "float" | "int" | "str" | "singlechoice" | "boolean" | "pointlist";
  store: "mainjson" | "file";
  required: boolean;
  default: any;
  /** Numbers; points have the unit, too. */
  minimum?: number | null;
  maximum?: number | null;
  unit?: string;
  /** Choices. */
  choices?: string[];
  /** Texts; in characters. */
  longest?: number;
  /** Lists of points. */
  coordinates?: "LPS" | "RAS";
  fewest?: number;
  most?: number;
  /** Volumes; dimensions in voxels along i, j, k. */
  extensions?: string[];
  modalities?: string[] | null;
  smallest_dimensions?: number[] | null;
  largest_dimensions?: number[] | null;
  spacing_mm?: number[] | null;
}

/** A line of `/supportedservices`. */
export interface Service {
  name: string;
  description: string;
  version: string;
  available: boolean;
  /** The most that its tickets were measured to need, by compute source. */
  memory_bytes: Record<string, number>;
  /** Tickets in the shortest queue that a new one may join; null where none is available. */
  waiting: number | null;
  /** Until a new ticket would be started. */
  wait_seconds: number | null;
  /** By the inputs' ids. */
  interface: Record<string, Input>;
  /** By the inputs' ids: values, and of volumes `{file, about}`; may be empty. */
  example: Record<string, any>;
}

/** The addresses of a ticket. */
export interface Links {
  status: string;
  result: string;
  cancel: string;
}

/** Problem details, as in RFC 9457; `errors` lists every fault of the inputs at once. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  errors?: { input: string | null; code: string; detail: string }[];
}

/** Where a ticket stands. Times are RFC 3339, UTC. */
export interface Status {
  id: number;
  service: string;
  state: "submitted" | "queued" | "running" | "succeeded" | "failed" | "cancelled" | "expired";
  /** Place in its queue; 1 is next. */
  position: number | null;
  compute_source: string | null;
  /** From 0 to 1. */
  progress: number | null;
  stage: string | null;
  /** How often it was handed to a worker. */
  claim: number;
  created: string;
  started: string | null;
  finished: string | null;
  eta_seconds: number | null;
  /** Why it failed. */
  error: Problem | null;
  links: Links;
}

/** The answer to an upload; the token comes only here. */
export interface Accepted {
  id: number;
  token: string;
  service: string;
  state: Status["state"];
  links: Links;
}

/** The last figures of a device. */
export interface Reading {
  used_bytes: number | null;
  total_bytes: number | null;
  /** From 0 to 1. */
  use: number | null;
  celsius: number | null;
  /** When they were read. */
  read: string;
}

/** A compute source, as operators see it. */
export interface Source {
  name: string;
  device: string;
  /** For networks and tickets; null: all that is free. */
  memory_bytes: number | null;
  /** Why it cannot be used. */
  problem: string | null;
  /** A TaskScheduling holds it now. */
  live: boolean;
  /** It claims nothing more until it is resumed. */
  drained: boolean;
  reading: Reading | null;
  services: string[];
  waiting: number;
}

/** A ticket, as operators see it: without its token, and without the texts that may name a patient. */
export interface SeenTicket {
  id: number;
  service: string;
  state: Status["state"];
  compute_source: string | null;
  key_name: string | null;
  claim: number;
  attempts: number;
  progress: number | null;
  stage: string | null;
  created: string;
  started: string | null;
  finished: string | null;
  cancel_requested: boolean;
  /** The title of the problem with which it failed. */
  error: string | null;
  /** The ticket that an operator ran again as this one. */
  again_of: number | null;
  can_run_again: boolean;
}

/** The tickets that ended within an hour. */
export interface Hour {
  begins: string;
  succeeded: number;
  failed: number;
  cancelled: number;
  wait_median_seconds: number | null;
  wait_95_seconds: number | null;
  run_median_seconds: number | null;
  run_95_seconds: number | null;
}

/** Everything that the operators' page shows. */
export interface Queues {
  /** The database's clock. */
  now: string;
  manager_live: boolean;
  sources: Source[];
  /** How many tickets wait for a queue. */
  unqueued: number;
  running: SeenTicket[];
  /** The front of each queue, in its order. */
  waiting: SeenTicket[];
  services: string[];
  /** Those of the last day in which a ticket ended. */
  hours: Hour[];
  /** The newest first. */
  tickets: SeenTicket[];
}
