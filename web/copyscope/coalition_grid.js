/** Every coalition as a tile, bluer the nearer it is to the reference; hover or focus shows its images beside those without any component. */
import { digitsFor, h, number, unit } from './dom.js'

const MOST = 256
const MOST_IMAGES = 8

/**
 * @typedef {{members: string[], mask: number, fid: number, kid: number | null, distance?: number | null, value: number,
 *   images: number, folder: string | null, image_files: {file: string}[]}} Coalition
 */

/**
 * @param {{players: {name: string}[], coalitions: Coalition[], distance?: string}} report
 * @param {(file: string, folder: string | null) => string | null} image the address of a stored image
 */
export function coalitionGrid(report, image) {
  const coalitions = report.coalitions.slice(0, MOST)
  const values = coalitions.map((item) => item.value)
  const [far, near] = [Math.min(...values), Math.max(...values)]
  const digits = digitsFor(coalitions.map(distance))
  const detail = h('div', { class: 'cs-detail', 'aria-live': 'polite' })
  const other = h('div', { class: 'cs-other' })
  /** @type {HTMLElement[]} */
  const tiles = coalitions.map((item) => tile(item, report.players, (item.value - far) / (near - far || 1), digits))
  const [empty, full] = [0, coalitions.length - 1] // they are in the order of their bitmasks
  /** One coalition, and what its images are to be seen beside: those without any component. */
  const show = (index) => {
    for (const [at, element] of tiles.entries()) {
      element.setAttribute('aria-pressed', String(at === index))
      element.tabIndex = at === index ? 0 : -1
    }
    detail.replaceChildren(...describe(coalitions[index], report.players, image))
    other.replaceChildren(...describe(coalitions[index === empty ? full : empty], report.players, image))
    other.hidden = !other.querySelector('img')
  }
  const grid = h('div', { class: 'cs-grid', role: 'group', 'aria-label': 'Coalitions' }, ...tiles)
  grid.addEventListener('pointerover', (event) => {
    const index = tiles.indexOf(event.target.closest('.cs-tile'))
    if (index >= 0) show(index)
  })
  grid.addEventListener('focusin', (event) => {
    const index = tiles.indexOf(event.target.closest('.cs-tile'))
    if (index >= 0) show(index)
  })
  grid.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key]
    const index = tiles.indexOf(document.activeElement)
    if (!step || index < 0) return
    event.preventDefault()
    event.stopPropagation()
    tiles[(index + step + tiles.length) % tiles.length].focus()
  })
  show(full)
  const rest = report.coalitions.length - coalitions.length
  return h(
    'section',
    { class: 'cs-coalitions' },
    h('h4', {}, 'Coalitions', h('span', { class: 'cs-soft' }, `${unit(report)} of each; bluer is nearer`)),
    grid,
    rest > 0 ? h('div', { class: 'cs-soft' }, `${rest} more in the full report`) : null,
    h('div', { class: 'cs-sides' }, detail, other),
  )
}

/** The distance in use. @param {Coalition} item */
function distance(item) {
  return item.distance ?? item.fid
}

function tile(item, players, nearness, digits) {
  const dots = players.map((_, bit) => h('i', { class: (item.mask >> bit) & 1 ? 'cs-on' : '' }))
  return h(
    'button',
    {
      type: 'button',
      class: 'cs-tile',
      style: { '--near': `${Math.round(100 * nearness)}%` },
      'aria-label': `${title(item)}: ${number(distance(item), digits)}`,
    },
    h('span', { class: 'cs-dots', 'aria-hidden': true }, ...dots),
    h('span', {}, number(distance(item), distance(item) >= 100 ? 0 : digits)),
  )
}

function describe(item, players, image) {
  const pictures = item.image_files.slice(0, MOST_IMAGES).map((entry, index) => {
    const address = image(entry.file, item.folder)
    return address && h('img', { src: address, alt: `Image ${index + 1} of ${title(item)}` })
  })
  const columns = Math.min(3, Math.ceil(Math.sqrt(pictures.length)) || 1)
  const absent = players.map((player) => player.name).filter((name) => !item.members.includes(name))
  const thing = typeof item.image_files[0]?.frame === 'number' ? 'frame' : 'image'
  return [
    h('b', {}, title(item)),
    absent.length && item.members.length ? h('div', { class: 'cs-soft' }, `without ${absent.join(', ')}`) : null,
    h(
      'div',
      { class: 'cs-soft' },
      `FID ${number(item.fid, 2)} · KID ${number(item.kid, 4)} · `,
      item.images === 1 ? `1 ${thing}` : `${item.images} ${thing}s`,
    ),
    h('div', { class: 'cs-images', style: { '--columns': columns } }, ...pictures.filter(Boolean)),
  ].filter(Boolean)
}

function title(item) {
  return item.members.length ? item.members.join(' + ') : 'None of the components'
}
