/** "CopyScope: audit this image": adds and wires the enumerator, FID and report nodes. */

export const AUDIT_LABEL = 'CopyScope: audit this image'
export const AUDIT_COMMAND = 'CopyScope.AuditImage'

const CHAIN = ['CopyScopeCoalitionEnumerator', 'CopyScopeFID', 'CopyScopeShapleyReport']
const INPUTS = ['image', 'coalitions', 'game']
const GAP = 60
const TITLE = 30
const PROGRESS = 84 // room for the progress of a run

/** The first IMAGE output of a node that makes images, or −1. @param {object | null | undefined} node */
export function imageSlot(node) {
  if (!node?.outputs || String(node.comfyClass ?? '').startsWith('CopyScope')) return -1
  return node.outputs.findIndex((output) => output.type === 'IMAGE')
}

/** Whether an enumerator hangs on the image already. @param {object} node */
export function isAudited(node) {
  const links = node.outputs?.[imageSlot(node)]?.links ?? []
  return links.some((id) => {
    const link = node.graph?.getLink?.(id) ?? node.graph?.links?.[id]
    return link && node.graph.getNodeById(link.target_id)?.comfyClass === CHAIN[0]
  })
}

/** The one node that is selected, if it has an image. @param {object} app */
export function selectedNode(app) {
  const nodes = [...(app.canvas.selectedItems ?? [])].filter((item) => imageSlot(item) >= 0)
  return nodes.length === 1 ? nodes[0] : null
}

/**
 * Add the three nodes to the right of everything else and select them.
 * @param {object} app
 * @param {object} source
 */
export function auditImage(app, source) {
  const slot = imageSlot(source)
  if (slot < 0 || isAudited(source)) return
  const { graph } = source
  const { LiteGraph } = globalThis
  const made = CHAIN.map((type) => LiteGraph.createNode(type))
  if (made.some((node) => !node)) return
  graph.beforeChange()
  const left = Math.max(...graph.nodes.map((node) => node.pos[0] + node.size[0])) + GAP
  const top = source.pos[1]
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
  let [from, output] = [source, slot]
  for (const [index, node] of made.entries()) {
    graph.add(node)
    from.connect(output, node, node.inputs.findIndex((input) => input.name === INPUTS[index]))
    ;[from, output] = [node, 0]
  }
  // Saved with every node: changed later, it would be a step of its own for undo.
  graph.updateExecutionOrder?.()
  graph.afterChange()
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
