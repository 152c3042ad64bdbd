// Paths of vector databases.

export const DATABASES_PATH = "/v1/databases";

/** A part of a path. `.` and `..` would be taken for steps in it, whatever their encoding: another route, another database. */
export function pathPart(id: string): string {
  if (typeof id !== "string" || id === "" || id === "." || id === "..")
    throw new TypeError(`${JSON.stringify(id)} cannot be part of a path`);
  return encodeURIComponent(id);
}

/** The path of a database. */
export function databasePath(databaseId: string): string {
  return `${DATABASES_PATH}/${pathPart(databaseId)}`;
}
