/**
 * Places to listen at: a TCP address, or the path of a Unix socket.
 *
 * @module
 */
import { type Address, formatAddress } from "./address.ts";

/** Where a Unix socket is. */
export interface UnixPath {
  /** Its path, absolute or from the working directory. */
  readonly path: string;
}

/** Where connections are accepted. */
export type Place = Address | UnixPath;

/** The longest path of a Unix socket, in bytes: what Linux takes (sun_path, less the zero at its end). */
export const MAX_UNIX_PATH = 107;

/** Whether any free port is to be listened at there. */
export function isAnyPort(place: Place): boolean {
  return !("path" in place) && place.port === 0;
}

/** A place for people: `host:port`, or `unix:path`. */
export function formatPlace(place: Place): string {
  return "path" in place ? `unix:${place.path}` : formatAddress(place);
}
