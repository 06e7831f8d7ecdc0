/**
 * CopyScope in ComfyUI's front end: the report and the live progress on its nodes, a share on every player's node, and
 * "CopyScope: audit this image". Only the extension interface is used, and only CopyScope's own nodes are drawn on.
 *
 * Needs ComfyUI's front end 1.27 or later; the menu entry uses `getNodeMenuItems` where it exists (1.30 and later).
 */
import { api } from '../../scripts/api.js'
import { app } from '../../scripts/app.js'
import { AUDIT_COMMAND, AUDIT_LABEL, auditImage, hasImage, isAudited, selectedNode } from './copyscope/audit_menu.js'
import { showBadges, watchBadges } from './copyscope/badges.js'
import { addStyleSheet } from './copyscope/dom.js'
import { allNodes, firstSource, nodeByExecutionId } from './copyscope/graph.js'
import { PLAYERS, PlayersView } from './copyscope/players_view.js'
import { ProgressView } from './copyscope/progress_view.js'
import { ReportView } from './copyscope/report_view.js'

const ENUMERATORS = ['CopyScopeCoalitionEnumerator', 'CopyScopeLoaderCoalitions']
const REPORT = 'CopyScopeShapleyReport'
/**
 * The widget on which the front end itself writes a node's lines of progress; it makes none where there is one. Newer ones
 * take it away when the node is done, so it is put back then.
 */
const PROGRESS_WIDGET = '$$node-text-preview'

/** @type {WeakMap<object, ReportView>} */
const reports = new WeakMap()
/** @type {WeakMap<object, ProgressView>} */
const progress = new WeakMap()
/** @type {WeakMap<object, PlayersView>} */
const players = new WeakMap()
/** Enumerators with an audit under way. @type {Set<ProgressView>} */
const running = new Set()

/** The open workflow; `app.graph` is its older name. */
function rootGraph() {
  return app.rootGraph ?? app.graph
}

/** A DOM widget that is neither saved with the workflow nor sent with the prompt. */
function addPanel(node, name, view, options = {}) {
  const widget = node.addDOMWidget(name, name, view.element, { serialize: false, hideOnZoom: false, ...options })
  widget.serialize = false
  return widget
}

function addReport(node) {
  const view = new ReportView((path) => api.apiURL(path))
  reports.set(node, view)
  addPanel(node, 'copyscope_report', view, { getMinHeight: () => 320 })
  node.setSize([Math.max(node.size[0], 460), Math.max(node.size[1], 420)])
  const onExecuted = node.onExecuted
  node.onExecuted = function (output) {
    onExecuted?.apply(this, arguments)
    showReport(node, output)
  }
}

function showReport(node, output) {
  const report = output?.copyscope_report?.[0]
  if (!report) return
  reports.get(node)?.show(report, output.copyscope_files ?? [], output.copyscope_manifest?.[0])
  showBadges(node.graph?.rootGraph ?? rootGraph(), report, firstSource(node, 2))
}

/** Id of a node while it runs, as the server calls it. @type {WeakMap<object, string>} */
const executionIds = new WeakMap()

/**
 * Ask the audit of an enumerator to stop and have the report of what is known.
 * @returns {Promise<string | null>} why it cannot
 */
async function stopAudit(node) {
  const headers = { 'Content-Type': 'application/json' }
  const body = JSON.stringify({ node: executionIds.get(node) ?? String(node.id) })
  try {
    const answer = await api.fetchApi('/copyscope/stop', { method: 'POST', headers, body })
    return answer.ok ? null : (await answer.json()).error
  } catch {
    return 'ComfyUI did not answer; try again.'
  }
}

function addProgress(node) {
  const view = new ProgressView(() => stopAudit(node))
  progress.set(node, view)
  const height = () => view.height
  const attach = () => {
    const widget = addPanel(node, PROGRESS_WIDGET, view, { getMinHeight: height, getMaxHeight: height })
    widget.hidden = !view.height
    view.onResize = () => {
      widget.hidden = !view.height
      fit(node)
    }
    const { onRemove } = widget
    widget.onRemove = function () {
      onRemove?.call(this)
      queueMicrotask(() => node.graph && !node.widgets.includes(widget) && attach())
    }
  }
  attach()
}

function addPlayers(node) {
  const view = new PlayersView(node)
  players.set(node, view)
  addPanel(node, 'copyscope_players', view, { getMinHeight: () => view.height })
  view.onResize = () => fit(node)
  for (const event of ['onConfigure', 'onConnectionsChange']) {
    const original = node[event]
    node[event] = function () {
      const result = original?.apply(this, arguments)
      view.sync()
      return result
    }
  }
  view.sync()
  node.setSize([Math.max(node.size[0], 400), node.computeSize()[1]])
  fitted.set(node, node.size[1])
}

/** Heights that nodes were given here. @type {WeakMap<object, number>} */
const fitted = new WeakMap()

/** Let a node be as high as what it holds, unless someone has made it higher. */
function fit(node) {
  const needed = node.computeSize()[1]
  if (node.size[1] < needed || node.size[1] === fitted.get(node)) node.setSize([node.size[0], needed])
  fitted.set(node, needed)
  node.setDirtyCanvas(true, true)
}

/** The panel of an enumerator that tells something. @param {string} id of the node while it runs */
function runningView(id) {
  const node = nodeByExecutionId(rootGraph(), id)
  const view = node && progress.get(node)
  if (!view) return null
  executionIds.set(node, id)
  if (!running.has(view)) {
    running.add(view)
    players.get(node.getInputNode(node.findInputSlot('players')))?.find() // it has planned
    view.begin()
  }
  return view
}

api.addEventListener('progress_text', ({ detail }) => runningView(String(detail.nodeId))?.line(detail.text))

/** A message of the pack's own, whose name the front end's types do not know. */
const RACE = /** @type {any} */ ('copyscope.race')

api.addEventListener(RACE, (/** @type {any} */ { detail }) => runningView(detail.node)?.race(detail))

/** Where the end of the last prompt was missed, its panels must not be taken for those of this one. */
api.addEventListener('execution_start', () => running.clear())

/** What a workflow holds can change by undo, by a script, or in another view of it. */
api.addEventListener('graphChanged', () => {
  for (const node of allNodes(rootGraph())) players.get(node)?.sync()
})

const ENDS = /** @type {const} */ ([
  ['execution_success', 'done'],
  ['execution_error', 'stopped'],
  ['execution_interrupted', 'stopped'],
])
for (const [event, method] of ENDS) {
  api.addEventListener(event, () => {
    for (const view of running) view[method]()
    running.clear()
  })
}

app.registerExtension({
  name: 'CopyScope',

  commands: [
    {
      id: AUDIT_COMMAND,
      label: AUDIT_LABEL,
      icon: 'pi pi-chart-bar',
      function: () => {
        const node = selectedNode(app)
        if (node) auditImage(app, node)
      },
    },
  ],

  init() {
    addStyleSheet(new URL('./copyscope/copyscope.css', import.meta.url))
  },

  /** The pack has no nodes where packages are missing: say here, too, which command installs them. */
  async setup() {
    if (PLAYERS in globalThis.LiteGraph.registered_node_types) return
    const answer = await api.fetchApi('/copyscope/missing')
    if (!answer.ok) return
    const { message } = await answer.json()
    app.extensionManager.toast.add({ severity: 'error', summary: 'CopyScope has no nodes', detail: message })
  },

  nodeCreated(node) {
    watchBadges(node)
    if (node.comfyClass === REPORT) addReport(node)
    else if (node.comfyClass === PLAYERS) addPlayers(node)
    else if (ENUMERATORS.includes(node.comfyClass)) addProgress(node)
  },

  /** Outputs come back without being run again when a workflow's tab is opened anew. */
  onNodeOutputsUpdated(outputs) {
    for (const node of rootGraph()?.nodes ?? []) {
      if (node.comfyClass === REPORT) showReport(node, outputs[node.id])
    }
  },

  getNodeMenuItems(node) {
    return menuItems(node)
  },

  /** Nodes 2.0 leaves out the menu items of extensions up to front end 1.35: a button beside the selection instead. */
  getSelectionToolboxCommands(item) {
    return globalThis.LiteGraph?.vueNodesMode && hasImage(item) && !isAudited(item) ? [AUDIT_COMMAND] : []
  },

  /** Front ends before 1.30 have no `getNodeMenuItems`: the older, per-class way. */
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (app.collectNodeMenuItems || !(nodeData.output_node || nodeData.output?.includes('IMAGE'))) return
    const original = nodeType.prototype.getExtraMenuOptions
    nodeType.prototype.getExtraMenuOptions = function (canvas, options) {
      const result = original?.call(this, canvas, options)
      options.push(...menuItems(this))
      return result
    }
  },
})

function menuItems(node) {
  if (!hasImage(node)) return []
  return [null, { content: AUDIT_LABEL, disabled: isAudited(node), callback: () => auditImage(app, node) }]
}
