// @ts-check
/** Addresses of scripts of this site, in the form that a page which enforces Trusted Types wants. A page that knows no policy of ours gets plain text. */

/** @type {{createScriptURL: (url: string) => string} | undefined} */
let policy;

/** @param {URL} url @returns {string} */
export function scriptUrl(url) {
  const { trustedTypes } = /** @type {any} */ (globalThis);
  try {
    policy ??= trustedTypes?.createPolicy("rwkv", { createScriptURL: (/** @type {string} */ text) => text });
  } catch {
    // the page that we are embedded in names other policies; it need not enforce them
  }
  return policy?.createScriptURL(url.href) ?? url.href;
}
