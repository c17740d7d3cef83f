// Vendored libraries that bring no types of their own.
declare module "*/highlight/highlight.min.js" {
  const hljs: {
    getLanguage(name: string): unknown;
    highlight(code: string, options: { language: string; ignoreIllegals?: boolean }): { value: string };
  };
  export default hljs;
}
