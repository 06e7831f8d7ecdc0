/* Explores the combinations: a tile or a step shows its combination beside the tiles. Without scripts both are links. */
(() => {
  const box = document.getElementById('explore')
  const detail = box?.querySelector('.detail')
  if (!detail) return
  const tiles = /** @type {HTMLElement[]} */ ([...box.querySelectorAll('.tile')])
  const mask = (link) => /^#c(\d+)$/.exec(link?.getAttribute('href') ?? '')?.[1]
  const differ = (one, other) => {
    const apart = BigInt(one) ^ BigInt(other)
    return apart !== 0n && (apart & (apart - 1n)) === 0n
  }
  const show = (wanted) => {
    const card = document.getElementById(`c${wanted}`)
    if (!card) return
    detail.replaceChildren(...[...card.children].map((child) => child.cloneNode(true)))
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
  show(mask(tiles[0]))
})()

/* What a term means, beside it on hover and on focus; Escape hides it. Without scripts the browser's own hint tells. */
;(() => {
  const tip = document.createElement('div')
  Object.assign(tip, { id: 'tip', className: 'tip', hidden: true })
  tip.setAttribute('role', 'tooltip')
  document.body.append(tip)
  let shown = null
  const hide = () => {
    tip.hidden = true
    shown?.removeAttribute('aria-describedby')
    shown = null
  }
  const place = () => {
    const at = shown?.getClientRects()[0]
    if (!at) return
    const { clientWidth, clientHeight } = document.documentElement
    const { width, height } = tip.getBoundingClientRect()
    tip.style.left = `${Math.max(8, Math.min(at.left, clientWidth - width - 8))}px`
    tip.style.top = `${at.bottom + height + 8 < clientHeight ? at.bottom + 4 : Math.max(8, at.top - height - 4)}px`
  }
  const show = (term) => {
    if (term === shown) return
    hide()
    shown = term
    tip.textContent = term.dataset.meaning
    tip.hidden = false
    term.setAttribute('aria-describedby', tip.id)
    place()
  }
  for (const term of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('.term'))) {
    term.dataset.meaning = term.title
    term.removeAttribute('title')
  }
  document.addEventListener('pointerover', ({ target }) => {
    const element = /** @type {Element} */ (target)
    const term = element.closest?.('.term')
    if (term) show(term)
    else if (!tip.contains(element) && document.activeElement !== shown) hide()
  })
  document.addEventListener('focusin', ({ target }) => {
    const element = /** @type {Element} */ (target)
    if (element.matches('.term')) show(element)
    else hide()
  })
  document.addEventListener('keydown', ({ key }) => key === 'Escape' && hide())
  document.addEventListener('scroll', place, { capture: true, passive: true })
})()
