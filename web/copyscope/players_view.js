/** CopyScope Players: labelled fields for the node's texts, and the components of the workflow as a list to tick. */
import { api } from '../../../scripts/api.js'
import { app } from '../../../scripts/app.js'
import { h } from './dom.js'
import { inOneStep, nodeByExecutionId } from './graph.js'
import { baselineText, choiceTexts, countText, groupText, playersList } from './players_list.js'

export const PLAYERS = 'CopyScopePlayers'
const [ENUMERATOR, SETTINGS] = ['CopyScopeCoalitionEnumerator', 'CopyScopeSettings']

/** Texts of the node, each with its label, the rows that it takes, and whether the list writes it. */
const FIELDS = [
  { name: 'key_prompts', label: 'Key phrases', rows: 2, listed: false },
  { name: 'neutral_prompt', label: 'Neutral prompt', rows: 1, listed: false },
  { name: 'only', label: 'Only', rows: 2, listed: true },
  { name: 'lock', label: 'Lock', rows: 2, listed: true },
  { name: 'image_players', label: 'Image players', rows: 1, listed: true },
  { name: 'baseline_models', label: 'Baseline models', rows: 1, listed: true },
]

export class PlayersView {
  /** Called when the panel has another height. @type {() => void} */
  onResize = () => {}

  /** @param {object} node */
  constructor(node) {
    this.node = node
    /** @type {import('./players_list.js').Found | null} */
    this.found = null
    this.fields = FIELDS.map((field) => this.field(field)).filter(Boolean)
    this.button = h('button', { type: 'button', class: 'cs-button' }, 'Find players')
    this.button.addEventListener('click', () => this.find())
    this.status = h('span', { class: 'cs-soft', 'aria-live': 'polite' })
    this.problem = h('p', { class: 'cs-problem', role: 'alert', hidden: true })
    this.list = h('div')
    const [listed, other] = [true, false].map((kind) => this.fields.filter((item) => item.listed === kind))
    this.body = h(
      'div',
      { class: 'cs-players-body' },
      h('div', { class: 'cs-head' }, this.button, this.status),
      this.problem,
      this.list,
      ...other.map((item) => item.element),
      h('details', { class: 'cs-texts' }, h('summary', {}, 'The same as text'), ...listed.map((item) => item.element)),
    )
    this.element = h('div', { class: 'copyscope cs-players' }, this.body)
    new ResizeObserver(() => this.onResize()).observe(this.body)
    this.say('Lists what the workflow is made of; nothing is run.')
  }

  /** Pixels that the panel wants. */
  get height() {
    return this.body.offsetHeight + 2
  }

  /** A labelled field that shows and changes a text of the node; the node keeps it, and its own box is hidden. */
  field({ name, label, rows, listed }) {
    const widget = this.widget(name)
    if (!widget) return null
    const area = h('textarea', { rows, spellcheck: 'false', 'data-capture-wheel': 'true' })
    area.addEventListener('input', () => this.write(widget, area.value))
    area.addEventListener('change', () => this.changed(() => {}))
    const { required, optional } = this.node.constructor.nodeData.input
    const help = (required[name] ?? optional[name])[1].tooltip
    const element = h('label', { class: 'cs-field' }, h('b', {}, label), h('span', { class: 'cs-soft' }, help), area)
    return { name, listed, widget, area, element }
  }

  /** Show what the node holds now; a text that comes from another node keeps the node's own box and socket. */
  sync() {
    for (const { name, widget, area, element } of this.fields) {
      if (area.value !== widget.value && area !== document.activeElement) area.value = widget.value ?? ''
      const linked = this.isLinked(name)
      element.hidden = linked
      setHidden(widget, !linked)
    }
  }

  async find() {
    this.button.toggleAttribute('disabled', true)
    this.say('Looking…')
    try {
      this.found = await this.ask()
      this.draw()
    } catch (error) {
      this.found = null
      this.list.replaceChildren()
      this.say('')
      this.complain(error instanceof Error ? error.message : String(error))
    }
    this.button.toggleAttribute('disabled', false)
  }

  /** @returns {Promise<import('./players_list.js').Found>} */
  async ask() {
    const { output } = await app.graphToPrompt()
    const node = Object.keys(output).find(
      (id) => output[id].class_type === PLAYERS && nodeByExecutionId(app.rootGraph ?? app.graph, id) === this.node,
    )
    if (!node) throw new Error('This node would not run: wire it into a CopyScope Coalition Enumerator first.')
    const body = JSON.stringify({ prompt: output, node })
    const headers = { 'Content-Type': 'application/json' }
    const answer = await api.fetchApi('/copyscope/players', { method: 'POST', headers, body })
    const told = await answer.json().catch(() => ({}))
    if (!answer.ok) throw new Error(told.error ?? `ComfyUI could not list them (HTTP ${answer.status}); see its log.`)
    return told
  }

  draw() {
    const { components, problem } = this.found
    const may = {
      ticks: !['only', 'lock', 'image_players'].some((name) => this.isLinked(name)),
      baselines: !this.isLinked('baseline_models'),
      groups: Boolean(this.enumerator()),
    }
    this.list.replaceChildren(playersList(this.found, this, may))
    this.button.textContent = 'Find again'
    this.say(countText(components))
    this.complain(problem)
  }

  /** @param {import('./players_list.js').Component} item @param {boolean} measured */
  tick(item, measured) {
    item.measured = measured
    this.changed(() => {
      for (const [name, text] of Object.entries(choiceTexts(this.found.components))) this.write(this.widget(name), text)
      this.writeGroups()
    })
  }

  /** @param {import('./players_list.js').Component} item @param {string} name */
  group(item, name) {
    item.group = name.replace(/[=\n]/g, ' ').trim() || null
    this.changed(() => this.writeGroups())
  }

  /** @param {string} key @param {string} file */
  baseline(key, file) {
    const widget = this.widget('baseline_models')
    this.changed(() => this.write(widget, baselineText(String(widget.value ?? ''), key, file)))
  }

  /** Groups are kept by CopyScope Settings, which is added where there is none. */
  writeGroups() {
    const text = groupText(this.found.components)
    const settings = this.settings() ?? (text ? this.addSettings() : null)
    const widget = settings?.widgets.find((item) => item.name === 'groups')
    if (widget && widget.value !== text) this.write(widget, text)
  }

  enumerator() {
    return (this.node.getOutputNodes(0) ?? []).find((node) => node.comfyClass === ENUMERATOR) ?? null
  }

  settings() {
    const enumerator = this.enumerator()
    const source = enumerator?.getInputNode(enumerator.findInputSlot('settings'))
    return source?.comfyClass === SETTINGS ? source : null
  }

  addSettings() {
    const enumerator = this.enumerator()
    const made = globalThis.LiteGraph.createNode(SETTINGS)
    made.pos = [this.node.pos[0], this.node.pos[1] + this.node.size[1] + 60]
    this.node.graph.add(made)
    made.connect(0, enumerator, enumerator.findInputSlot('settings'))
    return made
  }

  /** Change the graph in one step for undo, and look again where a list is shown. @param {() => void} change */
  async changed(change) {
    this.element.setAttribute('aria-busy', 'true')
    await inOneStep(app.canvas, async () => {
      change()
      this.sync()
      this.node.setDirtyCanvas(true, true)
      if (this.found) await this.find()
      return [this.node]
    })
    this.element.removeAttribute('aria-busy')
  }

  write(widget, text) {
    widget.value = text
    widget.callback?.(text)
  }

  widget(name) {
    return this.node.widgets.find((item) => item.name === name)
  }

  isLinked(name) {
    const slot = this.node.inputs.findIndex((input) => input.widget?.name === name)
    return slot >= 0 && Boolean(this.node.graph && this.node.getInputLink(slot)) // a new node is in no graph yet
  }

  say(text) {
    this.status.textContent = text
  }

  /** @param {string | null} sentence */
  complain(sentence) {
    this.problem.textContent = sentence ?? ''
    this.problem.hidden = !sentence
  }
}

/** Hide a widget on the canvas and in Nodes 2.0; the canvas of older front ends keeps room for hidden ones. */
function setHidden(widget, hidden) {
  widget.hidden = hidden
  widget.options.hidden = hidden
  if (hidden) widget.computeLayoutSize = () => ({ minHeight: 0, maxHeight: 0, minWidth: 0 })
  else delete widget.computeLayoutSize // its class has one
}
