// Vendored libraries that bring no types of their own.
declare module "*/highlight/core.min.js" {
  const hljs: {
    registerLanguage(name: string, grammar: unknown): void;
    highlight(code: string, options: { language: string; ignoreIllegals?: boolean }): { value: string };
  };
  export default hljs;
}
