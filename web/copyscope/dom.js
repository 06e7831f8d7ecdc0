/** Elements and numbers. Data reaches the page through `textContent` and attributes alone. */

/**
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, unknown>} [props] attributes; `class`, `dataset` and `style` (an object) too; null leaves out
 * @param {...(Node | string | null | undefined)} children strings become text
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue
    if (name === 'style') for (const [key, item] of Object.entries(value)) element.style.setProperty(key, String(item))
    else if (name === 'dataset') Object.assign(element.dataset, value)
    else element.setAttribute(name, value === true ? '' : String(value))
  }
  element.append(...children.filter((child) => child !== null && child !== undefined))
  return element
}

/** Load a style sheet once. @param {URL} url */
export function addStyleSheet(url) {
  if (!document.querySelector(`link[href="${CSS.escape(url.href)}"]`)) {
    document.head.append(h('link', { rel: 'stylesheet', href: url.href }))
  }
}

/**
 * A number with a real minus sign; a dash for null.
 * @param {number | null | undefined} value
 */
export function number(value, digits = 1) {
  if (value === null || value === undefined) return '–'
  const rounded = Number(value.toFixed(digits)) + 0
  const text = Math.abs(rounded).toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
  return rounded < 0 ? `−${text}` : text
}

/** The same with a plus sign for what does not round to zero. @param {number | null | undefined} value */
export function signed(value, digits = 1) {
  return (typeof value === 'number' && Number(value.toFixed(digits)) > 0 ? '+' : '') + number(value, digits)
}

/** A signed share in per cent. @param {number | null | undefined} value */
export function percent(value, digits = 0) {
  return typeof value === 'number' ? `${signed(value * 100, digits)}%` : '–'
}

/** Seconds as a reader says them. @param {number} seconds */
export function duration(seconds) {
  const whole = Math.max(1, Math.round(seconds))
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  return `${Math.floor(whole / 3600)} h ${Math.round((whole % 3600) / 60)} min`
}

/** Names of the distances that a report may be made of. */
const UNITS = { fid: 'FID', fid_infinity: 'FID∞', kid: 'KID', mmd: 'MMD' }

/** How a report's distance is called. @param {{distance?: string}} report */
export function unit(report) {
  return UNITS[report.distance ?? 'fid'] ?? String(report.distance)
}

/** Digits that numbers of this size need. @param {number[]} values */
export function digitsFor(values) {
  const largest = Math.max(0, ...values.map(Math.abs))
  return largest >= 10 || largest === 0 ? 1 : largest >= 1 ? 2 : 4
}

/**
 * What a player is ranked by, as the verdict has it: its contrast with control images, or its Shapley value.
 * @param {{shapley: number, shapley_interval?: [number, number] | null, contrast?: number | null,
 *   contrast_interval?: [number, number] | null}} player
 * @param {string} basis of the verdict
 * @returns {{value: number, interval: [number, number] | null}}
 */
export function worth(player, basis) {
  if (basis === 'contrast' && typeof player.contrast === 'number') {
    return { value: player.contrast, interval: player.contrast_interval ?? null }
  }
  return { value: player.shapley, interval: player.shapley_interval ?? null }
}

/** Whether an interval holds zero. @param {{interval: [number, number] | null}} found */
export function mayBeChance({ interval }) {
  return Boolean(interval && interval[0] <= 0 && interval[1] >= 0)
}
