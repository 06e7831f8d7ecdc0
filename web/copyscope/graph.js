/** Finding nodes of the open workflow. */

/**
 * The node of an execution id; `12:5` is node 5 of the subgraph in node 12.
 * @param {object} root the root graph
 * @param {string | number} id
 */
export function nodeByExecutionId(root, id) {
  let graph = root
  let node = null
  for (const part of String(id).split(':')) {
    node = graph?.getNodeById(/^\d+$/.test(part) ? Number(part) : part) ?? graph?.getNodeById(part) ?? null
    if (!node) return null
    graph = node.subgraph
  }
  return node
}

/** Every node of the workflow, insides of subgraphs included. @param {object} root */
export function allNodes(root) {
  return [root, ...(root.subgraphs?.values() ?? [])].flatMap((graph) => graph.nodes ?? [])
}

/**
 * The node at the far end of a chain of first inputs: of a report, the one that its coalitions come from.
 * @param {object | null} node
 * @param {number} steps
 */
export function firstSource(node, steps) {
  for (let step = 0; node && step < steps; step++) node = node.getInputNode?.(0) ?? null
  return node
}

/**
 * Where the image of a node comes from: what goes into a node that saves or shows images, else its own first IMAGE
 * output; null where it has none.
 * @param {object | null | undefined} node
 * @returns {{node: object, slot: number} | null}
 */
export function imageSource(node) {
  if (!node?.outputs || isOurs(node)) return null
  if (node.constructor.nodeData?.output_node) {
    const input = node.inputs.findIndex((item) => item.type === 'IMAGE')
    const [maker, link] = input < 0 ? [] : [node.getInputNode(input), node.getInputLink(input)]
    if (maker && link && !isOurs(maker)) return { node: maker, slot: link.origin_slot }
  }
  const slot = node.outputs.findIndex((output) => output.type === 'IMAGE')
  return slot < 0 ? null : { node, slot }
}

/**
 * Make a change of the graph one step for undo.
 * @param {object} canvas
 * @param {() => object[] | Promise<object[]>} change gives the nodes that it changes
 */
export async function inOneStep(canvas, change) {
  canvas.emitBeforeChange()
  try {
    await settled(await change())
  } finally {
    canvas.emitAfterChange()
  }
}

/**
 * Wait until nodes have the size that they keep: Nodes 2.0 measures them once they are drawn, and what it changes after
 * the step for undo has been taken would be a step of its own.
 * @param {object[]} nodes
 */
async function settled(nodes) {
  const sizes = () => nodes.map((node) => [...node.pos, ...node.size].join()).join(';')
  let before = ''
  let same = 0
  for (let tries = 0; tries < 20 && same < 3; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    const now = sizes()
    same = now === before ? same + 1 : 0
    before = now
  }
}

function isOurs(node) {
  return String(node.comfyClass ?? '').startsWith('CopyScope')
}
