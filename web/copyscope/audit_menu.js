/** "CopyScope: audit this image": adds and wires the enumerator, FID and report nodes. */
import { imageSource, inOneStep } from './graph.js'

export const AUDIT_LABEL = 'CopyScope: audit this image'
export const AUDIT_COMMAND = 'CopyScope.AuditImage'

const CHAIN = ['CopyScopeCoalitionEnumerator', 'CopyScopeFID', 'CopyScopeShapleyReport']
const INPUTS = ['image', 'coalitions', 'game']
const GAP = 60
const TITLE = 30
const PROGRESS = 104 // room for the progress of a run

/** Whether a node has an image to audit, and the pack its nodes. @param {object | null | undefined} node */
export function hasImage(node) {
  return CHAIN[0] in globalThis.LiteGraph.registered_node_types && imageSource(node) !== null
}

/** Whether an enumerator hangs on a node's image already. @param {object} node */
export function isAudited(node) {
  const source = imageSource(node)
  const targets = source?.node.getOutputNodes(source.slot) ?? []
  return targets.some((target) => target.comfyClass === CHAIN[0])
}

/** The one node that is selected, if it has an image. @param {object} app */
export function selectedNode(app) {
  const nodes = [...(app.canvas.selectedItems ?? [])].filter(hasImage)
  return nodes.length === 1 ? nodes[0] : null
}

/**
 * Add the three nodes to the right of everything else and select them.
 * @param {object} app
 * @param {object} clicked the node whose image is audited
 */
export async function auditImage(app, clicked) {
  const source = imageSource(clicked)
  if (!source || isAudited(clicked)) return
  const { graph } = source.node
  const { LiteGraph } = globalThis
  const made = CHAIN.map((type) => LiteGraph.createNode(type))
  if (made.some((node) => !node)) return
  await inOneStep(app.canvas, () => {
    place(app, graph, source, made)
    return made
  })
}

/** Place the new nodes to the right of everything else, wired and selected. */
function place(app, graph, source, made) {
  const left = Math.max(...graph.nodes.map((node) => node.pos[0] + node.size[0])) + GAP
  const top = source.node.pos[1]
  const [enumerator, fid, report] = made
  enumerator.pos = [left, top]
  enumerator.size = [Math.max(enumerator.size[0], 320), enumerator.size[1] + PROGRESS]
  fid.pos = [left, top + enumerator.size[1] + TITLE + GAP]
  report.pos = [left + Math.max(enumerator.size[0], fid.size[0]) + GAP, top]
  report.size = [Math.max(report.size[0], 520), Math.max(report.size[1], 560)]
  chooseFolder(fid)
  const [right, bottom] = [0, 1].map((axis) => Math.max(...made.map((node) => node.pos[axis] + node.size[axis])))
  // At once, not animated: Nodes 2.0 measures the sockets of new nodes when they are drawn.
  app.canvas.ds.fitToBounds?.([left, top - TITLE, right - left, bottom - top + TITLE])
  let { node: from, slot: output } = source
  for (const [index, node] of made.entries()) {
    graph.add(node)
    from.connect(output, node, node.inputs.findIndex((input) => input.name === INPUTS[index]))
    ;[from, output] = [node, 0]
  }
  // Saved with every node: changed later, it would be a step of its own for undo.
  graph.updateExecutionOrder?.()
  app.canvas.selectItems?.(made) ?? app.canvas.selectNodes?.(made)
  app.canvas.setDirty(true, true)
}

/** A first guess at the reference folder; the user chooses. */
function chooseFolder(fid) {
  const widget = fid.widgets?.find((item) => item.name === 'reference_folder')
  const folders = Array.isArray(widget?.options?.values) ? widget.options.values : []
  const named = folders.find((name) => /^reference/i.test(name))
  if (named) widget.value = named
}
