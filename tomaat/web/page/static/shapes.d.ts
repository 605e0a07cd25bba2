/** The JSON that the API sends and the page reads. Written by tools/page_types.py: change the shapes there. */

/** A new ticket. */
export interface Accepted {
  id: number;
  /** The only copy: its holder sees the ticket. */
  token: string;
  service: string;
  state: "submitted" | "queued" | "running" | "succeeded" | "failed" | "cancelled" | "expired";
  links: Links;
}

/** One of the reasons why a request was refused. */
export interface Fault {
  /** The input's id; null: of the whole request. */
  input: string | null;
  code: string;
  detail: string;
}

/** The tickets that ended within an hour; seconds are of those that had any. */
export interface Hour {
  begins: string;
  succeeded: number;
  failed: number;
  cancelled: number;
  /** From the submission to the last start. */
  wait_median_seconds: number | null;
  /** The 95th percentile. */
  wait_95_seconds: number | null;
  /** From the last start to the result. */
  run_median_seconds: number | null;
  run_95_seconds: number | null;
}

/** An argument of a service; each type has rules of its own. */
export interface Input {
  id: string;
  name: string;
  description: string;
  type: "volume" | "float" | "int" | "str" | "singlechoice" | "boolean" | "pointlist";
  /** `mainjson`: a value in main.json. `file`: a file beside it. */
  store: "mainjson" | "file";
  required: boolean;
  default: any;
  /** For numbers. */
  minimum?: number | null;
  maximum?: number | null;
  /** For numbers and points. */
  unit?: string;
  /** For points. */
  coordinates?: "LPS" | "RAS";
  fewest?: number;
  most?: number;
  /** For a choice. */
  choices?: string[];
  /** For a text, in characters. */
  longest?: number;
  /** For volumes: how the names of their files may end. */
  extensions?: string[];
  channels?: number;
  /** For a DICOM series; null: any. */
  modalities?: string[] | null;
  orientation?: string | null;
  /** In voxels along i, j, k. */
  smallest_dimensions?: number[] | null;
  largest_dimensions?: number[] | null;
  /** The smallest and the largest. */
  spacing_mm?: number[] | null;
  /** False: a tilted or unevenly spaced series is refused. Else it is put on an even grid. */
  resampled?: boolean;
  most_voxels?: number | null;
  largest_voxel_bytes?: number | null;
}

/** The last figures of a compute source's device, of a CPU's source those of the whole machine; null: not told. */
export interface LatestReading {
  used_bytes: number | null;
  total_bytes: number | null;
  use: number | null;
  celsius: number | null;
  read: string;
}

/** The addresses of a ticket. */
export interface Links {
  status: string;
  result: string;
  files: string;
  cancel: string;
}

/** RFC 9457 problem details. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  /** All faults of the inputs at once. */
  errors?: Fault[];
}

/** All that the operators' page shows. */
export interface Queues {
  /** The database's clock. */
  now: string;
  /** A QueueManager is alive; without one no ticket gets a queue. */
  manager_live: boolean;
  sources: Source[];
  /** Tickets that wait for a queue. */
  unqueued: number;
  running: SeenTicket[];
  /** The front of each queue, in its order. */
  waiting: SeenTicket[];
  services: string[];
  /** The last day, in UTC; an hour in which no ticket ended is left out. */
  hours: Hour[];
  /** The newest first. */
  tickets: SeenTicket[];
}

/** A ticket, as operators see it: no token, and nothing that may name a patient. */
export interface SeenTicket {
  id: number;
  service: string;
  state: "submitted" | "queued" | "running" | "succeeded" | "failed" | "cancelled" | "expired";
  compute_source: string | null;
  /** Of those of the source, counted from 1; of a ticket that was never started, 1. */
  lane: number;
  /** Of the API key that submitted it. */
  key_name: string | null;
  claim: number;
  attempts: number;
  progress: number | null;
  /** The task's own words. */
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
  priority: "urgent" | "normal" | "night";
  /** It waits, and an operator moved it before all others. */
  moved_to_front: boolean;
}

/** A service, its inputs, and how long its queue is. */
export interface Service {
  name: string;
  description: string;
  version: string;
  /** It is only to try the server with. */
  trial: boolean;
  /** For whom and for which images it is meant; as the next three, empty where its author says nothing. */
  intended_use: string;
  licence: string;
  reference: string;
  contact: string;
  /** Of the network folder that it was made from, such as nnU-Net; empty for a task that somebody wrote. */
  kind: string;
  /** Of the network's file or folder; null where the task names none. */
  weights_sha256: string | null;
  /** A compute source that takes tickets offers it now. */
  available: boolean;
  /** Why none does; null where one does. */
  why_unavailable: string | null;
  /** The most that its tickets were measured to need, by compute source. */
  memory_bytes: Record<string, number>;
  /** Tickets in the shortest queue that a new one may join; null where none is available. */
  waiting: number | null;
  /** Expected, until a new ticket would be started. */
  wait_seconds: number | null;
  /** Whether a ticket's label is kept here; where not, send none. */
  takes_label: boolean;
  /** By the inputs' ids. */
  interface: Record<string, Input>;
  /** Values by the inputs' ids, to try it with; may be empty. A volume has `file`, its address here, and `about`. */
  example: Record<string, any>;
}

/** A compute source, as operators see it. */
export interface Source {
  name: string;
  device: string;
  /** For networks and tickets; null: whatever is free. */
  memory_bytes: number | null;
  /** Why it cannot be used. */
  problem: string | null;
  /** The file or service that its worker loads now, and for how long; null: all are loaded. */
  loading: string | null;
  /** A TaskScheduling holds it now. */
  live: boolean;
  /** It may start tickets now, and its worker has offered services. */
  takes_tickets: boolean;
  /** It claims nothing more until it is resumed. */
  drained: boolean;
  reading: LatestReading | null;
  services: string[];
  /** Tickets in its queue. */
  waiting: number;
  /** Tickets that it runs side by side. */
  lanes: number;
}

/** Where a ticket stands. Times are RFC 3339, UTC. */
export interface Status {
  id: number;
  /** Its client's own name for it; null too once its files are to be deleted. */
  label: string | null;
  service: string;
  priority: "urgent" | "normal" | "night";
  state: "submitted" | "queued" | "running" | "succeeded" | "failed" | "cancelled" | "expired";
  /** Place in its queue; 1 is next. */
  position: number | null;
  compute_source: string | null;
  progress: number | null;
  /** The task's own words for its present work. */
  stage: string | null;
  /** How often it was handed to a worker. */
  claim: number;
  created: string;
  started: string | null;
  finished: string | null;
  /** Expected, until it has ended; null where no end can be expected. */
  eta_seconds: number | null;
  /** Why no end can be expected, where that is known. */
  why_waiting: string | null;
  /** Why it failed. */
  error: Problem | null;
  links: Links;
}
