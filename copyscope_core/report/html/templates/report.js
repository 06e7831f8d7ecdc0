/* Explores the combinations: a tile or a step shows the combination's card beside the tiles, and hides the others. */
(() => {
  const box = document.getElementById('explore')
  if (!box) return
  const tiles = /** @type {HTMLElement[]} */ ([...box.querySelectorAll('.tile')])
  const mask = (link) => /^#c(\d+)$/.exec(link?.getAttribute('href') ?? '')?.[1]
  const differ = (one, other) => {
    const apart = BigInt(one) ^ BigInt(other)
    return apart !== 0n && (apart & (apart - 1n)) === 0n
  }
  const show = (wanted) => {
    const card = document.getElementById(`c${wanted}`)
    if (!card) return
    box.querySelector('.card.chosen')?.classList.remove('chosen')
    card.classList.add('chosen')
    for (const tile of tiles) {
      const own = mask(tile)
      if (own === wanted) tile.setAttribute('aria-current', 'true')
      else tile.removeAttribute('aria-current')
      tile.classList.toggle('step', differ(own, wanted))
      tile.tabIndex = own === wanted ? 0 : -1
    }
  }
  const place = (tile) => {
    const { left, width, top } = tile.getBoundingClientRect()
    return { x: left + width / 2, y: top }
  }
  /** The tile nearest in the next row above (−1) or below (1). */
  const beyond = (tile, way) => {
    const from = place(tile)
    const rows = tiles.map((item) => ({ item, at: place(item) })).filter(({ at }) => (at.y - from.y) * way > 1)
    const next = Math.min(...rows.map(({ at }) => Math.abs(at.y - from.y)))
    const row = rows.filter(({ at }) => Math.abs(Math.abs(at.y - from.y) - next) < 1)
    return row.sort((one, other) => Math.abs(one.at.x - from.x) - Math.abs(other.at.x - from.x))[0]?.item
  }
  box.addEventListener('click', (event) => {
    const wanted = mask(/** @type {Element} */ (event.target).closest('a'))
    if (wanted === undefined) return
    event.preventDefault()
    show(wanted)
  })
  box.addEventListener('keydown', (event) => {
    const at = tiles.indexOf(/** @type {HTMLElement} */ (event.target))
    if (at < 0) return
    const next = {
      ArrowRight: () => tiles[at + 1],
      ArrowLeft: () => tiles[at - 1],
      ArrowUp: () => beyond(tiles[at], -1),
      ArrowDown: () => beyond(tiles[at], 1),
      Home: () => tiles[0],
      End: () => tiles[tiles.length - 1],
    }[event.key]?.()
    if (!next) return
    event.preventDefault()
    show(mask(next))
    next.focus()
  })
  box.classList.add('choosing')
  show(mask(tiles[0]))
})()

/* A table that is wider than its place says so, until it was scrolled to its end. */
;(() => {
  const boxes = /** @type {HTMLElement[]} */ ([...document.querySelectorAll('.scroll')])
  const look = (box) => box.classList.toggle('more', box.scrollLeft + box.clientWidth < box.scrollWidth - 2)
  const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => look(target)))
  for (const box of boxes) {
    sizes.observe(box)
    box.addEventListener('scroll', () => look(box), { passive: true })
  }
})()

/* A link into what is folded unfolds it; on paper nothing is folded, whatever the browser. */
;(() => {
  const reveal = () => {
    const target = document.getElementById(location.hash.slice(1))
    for (let at = target?.closest('details'); at; at = at.parentElement?.closest('details')) at.open = true
    target?.scrollIntoView()
  }
  addEventListener('hashchange', reveal)
  if (location.hash) reveal()
  let opened = []
  addEventListener('beforeprint', () => {
    opened = [.../** @type {NodeListOf<HTMLDetailsElement>} */ (document.querySelectorAll('details:not([open])'))]
    for (const part of opened) part.open = true
  })
  addEventListener('afterprint', () => {
    for (const part of opened) part.open = false
  })
})()
