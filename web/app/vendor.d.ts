// The vendored libraries exist only after a build; these declarations let the page be checked without one.

declare module "*/vendor/marked/marked.esm.js" {
  interface Options {
    gfm?: boolean;
    breaks?: boolean;
    renderer?: Record<string, (this: { parser: { parseInline(tokens: unknown[]): string } }, token: Record<string, any>) => string>;
  }
  export class Marked {
    constructor(options?: Options);
    parse(source: string, options: { async: false }): string;
  }
}

declare module "*/vendor/dompurify/purify.es.mjs" {
  interface Config {
    ALLOWED_TAGS?: string[];
    ALLOWED_ATTR?: string[];
    ALLOW_DATA_ATTR?: boolean;
    ALLOW_ARIA_ATTR?: boolean;
    RETURN_DOM_FRAGMENT: true;
  }
  interface Purifier {
    sanitize(html: string, config: Config): DocumentFragment;
    addHook(name: "afterSanitizeAttributes", hook: (node: Element) => void): void;
  }
  const factory: Purifier & ((window: Window) => Purifier);
  export default factory;
}
