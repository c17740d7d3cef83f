// What the public API tells, where it is made elsewhere: so the types that other sites get (build_scripts/make_types.py) name nothing of how it is made.

/** States that are kept. `memory`, `stored`: bytes. `persistent`: false where the browser lets nothing be stored. */
export interface Usage {
  memory: number;
  stored: number;
  count: number;
  budget: { memory: number; stored: number };
  persistent: boolean;
}

/** Where a model came from: what `load` was given (the names of files that were here), and how it was converted. */
export interface Origin {
  source: string;
  base?: string;
  quantization?: string;
  name?: string;
  files?: string[];
}

/** `done`: the share of an interrupted one that is here; `bytes`: of the whole model, or of what is here where the whole is not known. */
export interface StoredModel {
  id: string;
  name: string;
  version: string;
  quantization: string;
  bytes: number;
  stored: number;
  done: number;
  complete: boolean;
  added: number;
  used?: number;
  origin?: Origin;
}
