// What the page holds beside the standard library's types.

/** LiteGraph's classes, which ComfyUI's front end puts on the page. */
declare var LiteGraph: any

interface Document {
  /** Of pages made of HTML this is always one. */
  readonly activeElement: HTMLElement | null
}

/** The listeners here are for events that elements send: what they are sent to can be asked like an element. */
interface EventTarget {
  closest(selectors: string): HTMLElement | null
  matches(selectors: string): boolean
}
