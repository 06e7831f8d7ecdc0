/* Sorts and filters the table of pairs. */
(() => {
  const table = /** @type {HTMLTableElement | null} */ (document.getElementById('pairs'))
  const form = /** @type {HTMLFormElement | null} */ (document.getElementById('filters'))
  const body = table?.tBodies[0]
  if (!table || !form || !body) return
  const rows = [...body.rows]
  const words = rows.map((row) => (row.textContent ?? '').toLowerCase())
  const told = /** @type {HTMLOutputElement} */ (form.querySelector('output'))
  const filter = () => {
    const given = new FormData(form)
    const asked = String(given.get('text') ?? '').toLowerCase().split(/\s+/).filter(Boolean)
    const verdict = String(given.get('verdict') ?? '')
    let left = 0
    rows.forEach((row, place) => {
      const fits = (!verdict || row.dataset.verdict === verdict) && asked.every((word) => words[place].includes(word))
      row.hidden = !fits
      left += Number(fits)
    })
    told.value = `${left} of ${rows.length} shown`
  }
  const value = (row, column) => row.cells[column]?.dataset.value ?? row.cells[column]?.textContent ?? ''
  const order = (one, other) => {
    const [first, second] = [Number(one), Number(other)]
    return one !== '' && other !== '' && !Number.isNaN(first) && !Number.isNaN(second)
      ? first - second
      : one.localeCompare(other)
  }
  const heads = [...table.querySelectorAll('thead th')]
  heads.forEach((head, column) => {
    head.querySelector('button')?.addEventListener('click', () => {
      const down = head.getAttribute('aria-sort') === 'ascending'
      for (const other of heads) other.removeAttribute('aria-sort')
      head.setAttribute('aria-sort', down ? 'descending' : 'ascending')
      const sorted = [...rows].sort((one, other) => order(value(one, column), value(other, column)) * (down ? -1 : 1))
      body.append(...sorted)
    })
  })
  form.addEventListener('input', filter)
  form.addEventListener('submit', (event) => event.preventDefault())
  form.hidden = false
  filter()
})()
