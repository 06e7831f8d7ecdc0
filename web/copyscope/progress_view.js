/** Live progress of an audit on its enumerator: which coalition, how many are left, how long it will take. */
import { duration, h } from './dom.js'

const RUNNING = /^Running (\d+) of (\d+): (.*)$/s
const STEP = /^(\d+) of (\d+): (.*)$/s
/** A run's label: the components that are present, and which of its runs it is. */
const LABEL = /^(.*), (seed \+\d+.*)$/s
const PLAN = /^(\d+) coalitions? of (\d+) players?: (\d+) runs? to do, (\d+) stored$/

/** Pixels of the panel: the bar, a line, two lines of components, a line. */
const HEIGHT = 100

export class ProgressView {
  /** Called when the panel appears. @type {() => void} */
  onResize = () => {}

  constructor() {
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
    this.element = h('div', { class: 'copyscope cs-progress', hidden: true }, this.track, this.now, this.who, this.left)
    this.reset(0)
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
    if (!this.height) {
      this.height = HEIGHT
      this.element.hidden = false
      this.onResize()
    }
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

  done() {
    const took = duration((performance.now() - this.started) / 1000)
    const what = this.total ? `${this.total} runs in ${took}` : 'every coalition was stored already'
    this.finished = this.total
    this.draw('Audit done', what)
    this.element.dataset.state = 'done'
  }

  stopped() {
    this.draw('Stopped', `${this.finished} of ${this.total} runs are stored and will be used when you queue again.`)
    this.element.dataset.state = 'stopped'
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
