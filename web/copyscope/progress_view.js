/** Live progress of an audit on its enumerator: which coalition, how many are left, how long it will take. */
import { duration, h, number } from './dom.js'

const RUNNING = /^Running (\d+) of (\d+): (.*)$/s
const STEP = /^(\d+) of (\d+): (.*)$/s
/** A run's label: the components that are present, and which of its runs it is. */
const LABEL = /^(.*), (seed \+\d+.*)$/s
const PLAN = /^(\d+) coalitions? of (\d+) players?: (\d+) runs? to do, (\d+) stored$/

/** Pixels of the panel: the bar, a line, two lines of components, a line. */
const HEIGHT = 100
/** Pixels of what stands below while an audit runs until it is sure: four lines, a row for each look, the button. */
const RACE_HEIGHT = 120
const ROW_HEIGHT = 17
/** Most looks that are drawn: the last ones. */
const ROWS = 6

/**
 * Where an audit stands that runs until it is sure.
 * @typedef {{seeds: number, first: string | null, estimate: number | null, interval: [number, number] | null,
 *   decided: boolean}} Look
 * @typedef {{looks: Look[], runs: number, stopped: string | null, text: string}} Race
 */

export class ProgressView {
  /** Called when the panel appears. @type {() => void} */
  onResize = () => {}

  /** @param {() => Promise<string | null>} stop asks the audit to stop and report; a sentence where it cannot */
  constructor(stop) {
    /** Pixels that the panel wants; nothing before the first audit. */
    this.height = 0
    this.bar = h('div', { class: 'cs-fill' })
    this.track = h(
      'div',
      { class: 'cs-track', role: 'progressbar', 'aria-label': 'Coalitions finished', 'aria-valuemin': 0 },
      this.bar,
    )
    this.now = h('div', { class: 'cs-now' })
    this.who = h('div', { class: 'cs-who cs-soft' })
    this.left = h('div', { class: 'cs-soft', 'aria-live': 'polite' })
    this.button = h('button', { class: 'cs-button', type: 'button' }, 'Stop and report')
    this.button.addEventListener('click', async () => {
      if (this.button.ariaDisabled === 'true') return
      this.button.ariaDisabled = 'true'
      this.tell('Stopping after the run under way; what is known is reported, after a last check.')
      const refused = await stop()
      if (!refused) return
      this.button.ariaDisabled = 'false'
      this.tell(refused)
    })
    this.said = h('div', { class: 'cs-said', 'aria-live': 'polite' })
    this.rows = h('div', { class: 'cs-looks', role: 'img' })
    this.racing = h('div', { class: 'cs-race', hidden: true }, this.said, this.rows, this.button)
    const lines = [this.track, this.now, this.who, this.left, this.racing]
    this.element = h('div', { class: 'copyscope cs-progress', hidden: true }, ...lines)
    this.reset(0)
  }

  /** What the race has to say, cut after four lines. @param {string} text */
  tell(text) {
    this.said.textContent = text
    this.said.title = text
  }

  /** What was seen at the last look, and the intervals of all. @param {Race} race */
  race(race) {
    const looks = race.looks.slice(-ROWS)
    const ends = looks.flatMap((look) => look.interval ?? [look.estimate ?? 0])
    const [low, high] = [Math.min(0, ...ends), Math.max(0, ...ends)]
    const place = (/** @type {number} */ value) => `${((100 * (value - low)) / (high - low || 1)).toFixed(2)}%`
    this.tell(race.text)
    this.rows.setAttribute('aria-label', `The first component at each look: ${looks.map(words).join('; ')}`)
    this.rows.replaceChildren(...looks.map((look) => row(look, place)))
    this.button.hidden = race.stopped !== null
    this.racing.hidden = false
    this.resize(HEIGHT + RACE_HEIGHT - (this.button.hidden ? 30 : 0) + ROW_HEIGHT * looks.length)
  }

  /** @param {number} height */
  resize(height) {
    if (this.height === height) return
    this.height = height
    this.element.hidden = false
    this.onResize()
  }

  /** @param {number} total */
  reset(total) {
    this.total = total
    this.finished = 0
    this.started = performance.now()
    this.first = 0
  }

  /** A line of text that the enumerator sent. @param {string} text */
  line(text) {
    if (!this.height) this.resize(HEIGHT)
    const plan = PLAN.exec(text)
    const running = RUNNING.exec(text)
    const step = STEP.exec(text)
    if (plan) {
      this.reset(Number(plan[3]))
      this.draw(text, this.total ? 'Loading models…' : 'Nothing to run: every coalition is stored.')
    } else if (running) {
      const [next, total] = [Number(running[1]), Number(running[2])]
      if (total !== this.total || next <= this.finished) this.reset(total)
      this.finished = next - 1
      this.draw(`Running ${next} of ${total}`, this.finished ? this.remaining() : 'Loading models…', running[3])
    } else if (step) {
      const [done, total] = [Number(step[1]), Number(step[2])]
      if (total !== this.total || done < this.finished) this.reset(total)
      this.finished = done
      if (done === 1) this.first = performance.now()
      this.draw(`${done} of ${total} runs done`, this.remaining(), step[3])
    } else {
      this.draw(text, '')
    }
  }

  /** What is left, in runs and time; the first run, which loads the models, is left out of the estimate. */
  remaining() {
    const left = this.total - this.finished
    if (left <= 0) return 'All coalitions are done; measuring distances…'
    const seconds =
      this.finished > 1
        ? (performance.now() - this.first) / 1000 / (this.finished - 1)
        : (performance.now() - this.started) / 1000
    return `${left} left, about ${duration(seconds * left)}`
  }

  /** An audit begins anew: the looks of the one before it go. */
  begin() {
    this.racing.hidden = true
    this.button.ariaDisabled = 'false'
    if (this.height) this.resize(HEIGHT)
  }

  done() {
    this.end()
    const took = duration((performance.now() - this.started) / 1000)
    const what = this.total ? `${this.total} runs in ${took}` : 'every coalition was stored already'
    this.finished = this.total
    this.draw('Audit done', what)
    this.element.dataset.state = 'done'
  }

  stopped() {
    this.end()
    this.draw('Stopped', `${this.finished} of ${this.total} runs are stored and will be used when you queue again.`)
    this.element.dataset.state = 'stopped'
  }

  /** Nothing runs that could be stopped. */
  end() {
    if (this.racing.hidden || this.button.hidden) return
    this.button.hidden = true
    this.resize(this.height - 30)
  }

  /**
   * @param {string} now
   * @param {string} left
   * @param {string} [label] of the run that is told of; its seed stands first, where it is never cut off
   */
  draw(now, left, label = '') {
    const part = this.total ? this.finished / this.total : 1
    const [, who, seed] = LABEL.exec(label) ?? [null, label, '']
    this.element.dataset.state = 'running'
    this.bar.style.width = `${(100 * part).toFixed(1)}%`
    this.track.setAttribute('aria-valuemax', String(this.total))
    this.track.setAttribute('aria-valuenow', String(this.finished))
    this.now.textContent = seed ? `${now}, ${seed}` : now
    this.who.textContent = who
    this.who.title = who
    this.left.textContent = left
  }
}

/** A look for those who do not see it. @param {Look} look */
function words(look) {
  const interval = look.interval ? ` (${look.interval.map((end) => number(end, 3)).join(' to ')})` : ''
  return `${look.seeds} seeds, ${look.first ?? 'none'} ${number(look.estimate, 3)}${interval}`
}

/**
 * A look as a line: its seeds, and the interval of the first with its estimate and zero.
 * @param {Look} look
 * @param {(value: number) => string} place of a value, from the left
 */
function row(look, place) {
  const scale = h('div', { class: 'cs-scale' }, h('i', { class: 'cs-zero', style: { left: place(0) } }))
  if (look.interval) {
    const [low, high] = look.interval
    const width = `calc(${place(high)} - ${place(low)})`
    scale.append(h('i', { class: 'cs-span', style: { left: place(low), width } }))
  }
  if (look.estimate !== null) scale.append(h('i', { class: 'cs-dot', style: { left: place(look.estimate) } }))
  const seeds = `${look.seeds} seed${look.seeds === 1 ? '' : 's'}`
  return h('div', { class: 'cs-look', title: look.first ?? '' }, h('small', {}, seeds), scale)
}
