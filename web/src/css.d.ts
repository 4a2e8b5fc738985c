// A style sheet is bundled as its text, and becomes a constructed sheet: no inline style, whatever a page's policy.
declare module "*.css" {
  const text: string;
  export default text;
}
