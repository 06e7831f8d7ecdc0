/** The components of the workflow as a list to tick, and what the ticks are in the node's own texts. */
import { h } from './dom.js'

const NOTHING = '(none)'
/** Kinds as a reader knows them; others as they are, without underscores. */
const KINDS = { lora: 'LoRA', vae: 'VAE', unet: 'UNET', clip: 'CLIP', controlnet: 'ControlNet', ip_adapter: 'IP-Adapter' }

/**
 * @typedef {{key: string, file: string, chosen: string | null, list: string}} Baseline
 * @typedef {{name: string, kind: string, node: string, selector: string | null, measurable: boolean,
 *   measured: boolean, reason: string, group: string | null, baselines: Baseline[]}} Component
 * @typedef {{components: Component[], files: Record<string, string[]>,
 *   unmeasured: {node: string, what: string, reason: string}[], problem: string | null}} Found
 */

/**
 * What the ticks are in the inputs of CopyScope Players: the components that are not ticked are locked.
 * @param {Component[]} components
 * @returns {Record<string, string>}
 */
export function choiceTexts(components) {
  const unticked = components.filter((item) => item.kind !== 'image' && item.measurable && !item.measured)
  const images = components.filter((item) => item.kind === 'image' && item.measured)
  return {
    only: '',
    lock: unticked.map((item) => item.selector ?? item.name).join('\n'),
    image_players: images.map((item) => item.node).join('\n'),
  }
}

/** What the groups are in the input of CopyScope Settings. @param {Component[]} components */
export function groupText(components) {
  /** @type {Map<string, string[]>} */
  const groups = new Map()
  for (const { group, measured, selector } of components) {
    if (group && measured && selector) groups.set(group, [...(groups.get(group) ?? []), selector])
  }
  return [...groups].map(([name, members]) => `${name} = ${members.join(', ')}`).join('\n')
}

/** The lines `node = file` with one of them changed. @param {string} text @param {string} key @param {string} file */
export function baselineText(text, key, file) {
  const kept = text.split('\n').filter((line) => line.trim() && line.split('=')[0].trim() !== key)
  return [...kept, ...(file === NOTHING ? [] : [`${key} = ${file}`])].join('\n')
}

/** How many combinations the ticked components have. @param {Component[]} components */
export function countText(components) {
  const measured = components.filter((item) => item.measured).length
  if (!measured) return 'Nothing is measured: tick a component.'
  const grouped = components.some((item) => item.measured && item.group)
  return `${measured} measured${grouped ? ', in groups' : `: ${(2 ** measured).toLocaleString('en')} combinations`}`
}

/**
 * @param {Found} found
 * @param {{tick: (item: Component, measured: boolean) => void, group: (item: Component, name: string) => void,
 *   baseline: (key: string, file: string) => void}} on what to do when the user changes something
 * @param {{ticks: boolean, groups: boolean, baselines: boolean}} may what can be changed here
 */
export function playersList(found, on, may) {
  const names = [...new Set(found.components.map((item) => item.group).filter(Boolean))]
  const known = h('datalist', { id: `cs-groups-${Math.random().toString(36).slice(2)}` })
  known.append(...names.map((name) => h('option', { value: name })))
  const rows = found.components.map((item) => row(item, found, on, may, known.id))
  return h(
    'div',
    { class: 'cs-players-list' },
    h('ul', { class: 'cs-items', role: 'list', 'aria-label': 'Components' }, ...rows),
    rows.length ? null : h('p', { class: 'cs-soft' }, 'No components were found upstream of the audited image.'),
    unmeasured(found.unmeasured),
    known,
  )
}

function row(item, found, on, may, list) {
  const tick = h('input', {
    type: 'checkbox', disabled: !item.measurable || !may.ticks, 'aria-label': `Measure ${item.name}`,
  })
  tick.checked = item.measured
  tick.addEventListener('change', () => on.tick(item, tick.checked))
  const kind = `${KINDS[item.kind] ?? item.kind.replaceAll('_', ' ')} · node ${item.node}`
  const title = `${item.name} (${kind})`
  const name = h('span', { class: 'cs-name' }, h('b', {}, item.name), h('span', { class: 'cs-soft' }, kind))
  return h(
    'li',
    { class: 'cs-item', dataset: { state: item.measured ? 'measured' : 'locked' } },
    h('label', { class: 'cs-tick', title }, tick, name),
    item.measured && may.groups ? groupField(item, on, list) : null,
    item.measured ? null : h('span', { class: 'cs-reason cs-soft' }, whyNot(item)),
    ...item.baselines.map((baseline) => picker(baseline, item, found.files[baseline.list] ?? [], on, may)),
  )
}

function whyNot({ measurable, kind, reason }) {
  if (kind === 'image') return measurable ? 'Input image: tick to measure it against grey.' : `Not measured: ${reason}.`
  return `Locked: ${reason.replace(/^locked by the user$/, 'always present, not measured')}.`
}

function groupField(item, on, list) {
  const field = h('input', {
    type: 'text', class: 'cs-group', placeholder: 'Group', list, 'aria-label': `Group of ${item.name}`,
    disabled: item.selector === null, title: 'Players of one group join together, such as all LoRAs of one author.',
  })
  field.value = item.group ?? ''
  field.addEventListener('change', () => on.group(item, field.value))
  return field
}

function picker({ key, file, chosen }, item, files, on, may) {
  const select = h('select', { disabled: !may.baselines, 'aria-label': `Baseline of ${item.name}` })
  const choices = [...new Set([NOTHING, ...(chosen ? [chosen] : []), ...files.filter((other) => other !== file)])]
  select.append(...choices.map((choice) => h('option', { value: choice }, choice)))
  select.value = chosen ?? NOTHING
  select.addEventListener('change', () => on.baseline(key, select.value))
  const what = item.baselines.length > 1 ? `Baseline for ${file}` : 'Baseline'
  return h('label', { class: 'cs-baseline' }, h('span', { class: 'cs-soft', title: what }, what), select)
}

function unmeasured(items) {
  if (!items.length) return null
  const list = h('ul', {}, ...items.map((item) => h('li', {}, `${item.what} (node ${item.node}): ${item.reason}`)))
  const many = items.length === 1 ? '1 more thing shapes' : `${items.length} more things shape`
  return h('details', { class: 'cs-locked' }, h('summary', {}, `${many} the images and cannot be measured`), list)
}
