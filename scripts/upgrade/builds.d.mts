// Types of builds.mjs.
export interface Build {
  readonly directory: string;
  readonly commit: string;
  dispose(): Promise<void>;
}
export function buildOf(reference: string): Promise<Build>;
