/**
 * The headers with which the status port keeps what it shows to whom it is
 * shown, and lets its page load nothing from elsewhere.
 *
 * @module
 */

/** What tells a browser to keep an answer to itself, and this page alone. */
export const PRIVATE = {
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
} as const;

/** What the page may load and run: its own style and script, and what they ask of this process. */
export function policyFor(nonce: string): string {
  return [
    "default-src 'none'",
    `style-src 'nonce-${nonce}'`,
    `script-src 'nonce-${nonce}'`,
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
}

/** What asks a browser for the token: it has its own window for that, and sends it here alone. */
export const challenge = {
  ...PRIVATE,
  "www-authenticate": 'Basic realm="tcp-sproxy status", charset="UTF-8"',
} as const;
