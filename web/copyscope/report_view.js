/** The report on its node: headline, warnings, ranked bars, coalitions, and the way to the full report. */
import { digitsFor, h, mayBeChance, number, percent, signed, unit, worth } from './dom.js'
import { coalitionGrid } from './coalition_grid.js'

/** Warnings that tell what was done rather than how to read the result. */
const NOTES = ['note', 'plan', 'conversion', 'input_image']
const RUN = /^copyscope\/([0-9a-f]{16})$/

/**
 * @typedef {{name: string, kind: string, shapley: number, share: number | null, no_effect: boolean | null,
 *   leave_one_out: number, shapley_interval?: [number, number] | null, contrast?: number | null,
 *   contrast_interval?: [number, number] | null, indistinguishable_from?: string[] | null}} Player
 * @typedef {{verdict: {sentence: string, basis: string, reading: {code: string, sentence: string}[],
 *   until_sure?: {error: number} | null}, statement: string, players: Player[], coalitions: object[], locked: object[],
 *   warnings: {code: string, message: string}[], distance?: string,
 *   metadata?: {file: string, components: string[], mentions: {sentence: string}[]}[]}} Report
 */

export class ReportView {
  /** @param {(path: string) => string} url makes a server path into an address */
  constructor(url) {
    this.url = url
    const props = { class: 'copyscope cs-report', tabindex: 0, role: 'region', 'aria-label': 'CopyScope report' }
    this.element = h('div', props)
    this.element.append(
      h(
        'div',
        { class: 'cs-empty' },
        h('strong', {}, 'No report yet'),
        h('span', {}, 'Run the workflow: the ranked contributions appear here.'),
      ),
    )
    this.element.addEventListener('wheel', (event) => this.keepScroll(event))
  }

  /** Let the report scroll where it can, instead of zooming the canvas. */
  keepScroll(event) {
    const { scrollTop, scrollHeight, clientHeight } = this.element
    const room = event.deltaY < 0 ? scrollTop > 0 : scrollTop + clientHeight < scrollHeight - 1
    if (room && !event.ctrlKey) event.stopPropagation()
  }

  /**
   * @param {Report} report
   * @param {{filename: string, subfolder: string}[]} files
   * @param {string} [manifest] its SHA-256
   */
  show(report, files, manifest) {
    const run = files.map((file) => RUN.exec(file.subfolder)?.[1]).find(Boolean) ?? null
    const { basis } = report.verdict
    const ranked = [...report.players].sort((one, other) => worth(other, basis).value - worth(one, basis).value)
    this.element.replaceChildren(
      ...[
        h('h3', { class: 'cs-headline' }, report.verdict.sentence),
        reading(report.verdict.reading),
        warnings(report.warnings),
        bars(ranked, unit(report), basis, intervalName(report.verdict)),
        locked(report.locked),
        mentions(report.metadata),
        coalitionGrid(report, (file, folder) => this.image(run, file, folder)),
        this.footer(report, run, manifest),
      ].filter(Boolean),
    )
    this.element.scrollTop = 0
  }

  /** The address of a stored image, through ComfyUI's own route. */
  image(run, file, folder) {
    if (!run || !folder) return null
    const path = `copyscope/${run}/${folder}/${file}`
    const cut = path.lastIndexOf('/')
    const query = new URLSearchParams({ filename: path.slice(cut + 1), subfolder: path.slice(0, cut), type: 'output' })
    return this.url(`/view?${query}`)
  }

  footer(report, run, manifest) {
    const noted = manifest ? ` SHA-256 of the manifest: ${manifest}` : ''
    const statement = h('span', { class: 'cs-soft' }, `${capital(report.statement)}.${noted}`)
    if (!run) return h('footer', {}, statement)
    const link = h(
      'a',
      { class: 'cs-button', href: this.url(`/copyscope/runs/${run}/report.html`), target: '_blank', rel: 'noopener' },
      'Open full report',
    )
    return h('footer', {}, link, statement)
  }
}

/** What stands beside the verdict. @param {{sentence: string}[]} items */
function reading(items) {
  if (!items.length) return null
  const list = h('ul', {}, ...items.map((item) => h('li', {}, item.sentence)))
  return h('details', { class: 'cs-locked' }, h('summary', {}, 'How to read it'), list)
}

function warnings(items) {
  if (!items.length) return null
  const list = (some) => h('ul', {}, ...some.map((item) => h('li', {}, item.message)))
  const serious = items.filter(({ code }) => !NOTES.includes(code))
  const notes = items.filter(({ code }) => NOTES.includes(code))
  const summary = h('summary', {}, notes.length === 1 ? '1 note on what was run' : `${notes.length} notes on what was run`)
  return h(
    'div',
    { class: 'cs-warnings' },
    serious.length ? list(serious) : null,
    notes.length ? h('details', {}, summary, list(notes)) : null,
  )
}

/**
 * Where a model file's own metadata has a name that the user looks for.
 * @param {{file: string, components: string[], mentions: {sentence: string}[]}[] | undefined} files
 */
function mentions(files) {
  const found = (files ?? []).filter((item) => item.mentions.length)
  if (!found.length) return null
  const line = (item) => `${item.components.join(', ') || item.file}: ${item.mentions.map((one) => one.sentence).join('; ')}`
  const list = h('ul', {}, ...found.map((item) => h('li', {}, line(item))))
  const summary = h('summary', {}, 'What model files say of themselves (no number is made of it)')
  return h('details', { class: 'cs-locked', open: '' }, summary, list)
}

function locked(items) {
  if (!items?.length) return null
  const list = h('ul', {}, ...items.map((item) => h('li', {}, `${item.name} (${item.kind}): ${item.reason}`)))
  const names = items.map((item) => item.name).join(', ')
  return h('details', { class: 'cs-locked' }, h('summary', {}, `Not measured, always present: ${names}`), list)
}

/**
 * Signed bars on one scale; right of the line: towards the reference.
 * @param {Player[]} players
 * @param {string} name of the distance
 * @param {string} basis of the verdict
 * @param {string} called what intervals are called
 */
function bars(players, name, basis, called) {
  const ends = players.flatMap((player) => {
    const { value, interval } = worth(player, basis)
    return [value, ...(interval ?? [])]
  })
  const low = Math.min(0, ...ends)
  const span = Math.max(0, ...ends) - low || 1
  const scale = {
    place: (value) => `${(100 * (value - low)) / span}%`,
    width: (value) => `${(100 * Math.abs(value)) / span}%`,
    digits: digitsFor(ends),
    name,
    basis,
    called,
  }
  const [left, right] = basis === 'contrast' ? ['nearer the control', 'nearer the reference'] : ['farther', 'nearer to the reference']

  return h(
    'div',
    { class: 'cs-bars', role: 'list', 'aria-label': 'Contribution of each component' },
    ...players.map((player) => bar(player, scale)),
    h('div', { class: 'cs-axis cs-soft', 'aria-hidden': true }, `← ${left} · ${name} points · ${right} →`),
  )
}

/** What intervals are called, by how often they hold. @param {{until_sure?: {error: number} | null}} verdict */
function intervalName({ until_sure: sure }) {
  return `${sure ? Number((100 * (1 - sure.error)).toPrecision(6)) : 95}% interval`
}

function bar(player, { place, width, digits, name, basis, called }) {
  const found = worth(player, basis)
  const value = player.no_effect ? 'no effect' : signed(found.value, digits)
  const share = player.no_effect || basis === 'contrast' ? '' : percent(player.share)
  const interval = player.no_effect ? null : found.interval
  const ends = interval && `${number(interval[0], digits)} to ${number(interval[1], digits)}`
  const told = [
    `${player.name} (${player.kind}): ${value}${player.no_effect ? '' : ` ${name} points`}`,
    share && `share ${share}`,
    ends && `${called} ${ends}`,
    mayBeChance(found) && 'may be chance',
    `leave-one-out ${signed(player.leave_one_out, digits)}`,
    player.indistinguishable_from?.length && `not told apart from ${player.indistinguishable_from.join(', ')}`,
  ]
  const text = told.filter(Boolean).join('; ')
  const fill = h('div', {
    class: `cs-bar ${found.value >= 0 ? 'cs-toward' : 'cs-away'}${mayBeChance(found) ? ' cs-unsure' : ''}`,
    style: { left: place(Math.min(0, found.value)), width: width(found.value) },
  })
  const whisker =
    interval &&
    h('div', { class: 'cs-whisker', style: { left: place(interval[0]), width: width(interval[1] - interval[0]) } })
  return h(
    'div',
    { class: 'cs-row', role: 'listitem', tabindex: 0, title: text, 'aria-label': text },
    h('div', { class: 'cs-name' }, h('b', {}, player.name), h('span', { class: 'cs-soft' }, player.kind)),
    h('div', { class: 'cs-plot' }, fill, whisker, h('div', { class: 'cs-zero', style: { left: place(0) } })),
    h(
      'div',
      { class: 'cs-value' },
      h('b', {}, value),
      h('span', { class: 'cs-soft' }, share),
      ends && h('small', { class: 'cs-soft' }, ends),
    ),
  )
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
