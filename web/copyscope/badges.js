/** A badge with its share on the node of every player. */
import { mayBeChance, percent } from './dom.js'
import { allNodes, nodeByExecutionId } from './graph.js'

const COLOURS = { toward: '#0f6fb8', away: '#b4540a', none: '#5c6472' }

/** @type {WeakSet<object>} */
const ours = new WeakSet()

/** The one node that holds a whole workflow, so that its players have no nodes of their own in the graph. */
const LOADER = 'CopyScopeLoaderCoalitions'
const MOST_LETTERS = 18

/**
 * Put a badge on every player's node; players that share a node (prompt phrases) share the badge. Those of Loader
 * Coalitions have one each on that node.
 * @param {object} root the root graph
 * @param {{players: object[], workflow: object | null}} report
 * @param {object | null} source the node that the audit came from
 */
export function showBadges(root, report, source = null) {
  if (source?.comfyClass === LOADER) {
    for (const player of report.players) put(source, [player], `${clip(player.name)}: `)
    return
  }
  const byNode = new Map()
  for (const player of report.players) {
    if (player.node !== null) byNode.set(player.node, [...(byNode.get(player.node) ?? []), player])
  }
  for (const [id, players] of byNode) {
    const node = nodeByExecutionId(root, id)
    if (!node || node.comfyClass !== report.workflow?.[id]?.class_type) continue
    put(node, players)
  }
}

function put(node, players, label = '') {
  const badge = makeBadge(players, label)
  if (!badge) return
  ours.add(badge)
  node.badges.push(badge)
  refresh(node)
}

function clip(name) {
  return name.length > MOST_LETTERS ? `${name.slice(0, MOST_LETTERS)}…` : name
}

/** Take the badges off again. @param {object} root */
export function clearBadges(root) {
  for (const node of allNodes(root)) {
    const kept = (node.badges ?? []).filter((badge) => !ours.has(badge))
    if (kept.length === node.badges?.length) continue
    node.badges.splice(0, node.badges.length, ...kept)
    refresh(node)
  }
}

function makeBadge(players, label) {
  const Badge = globalThis.LGraphBadge ?? globalThis.LiteGraph?.LGraphBadge
  if (!Badge) return null
  const total = players.reduce((sum, player) => sum + player.shapley, 0)
  const sure = players.some((player) => !mayBeChance(player))
  const colour = !sure || total === 0 ? COLOURS.none : total > 0 ? COLOURS.toward : COLOURS.away
  return new Badge({ text: label + players.map(describe).join(' · '), fgColor: '#ffffff', bgColor: colour })
}

function describe(player) {
  if (player.no_effect) return 'no effect'
  return `share ${percent(player.share)}${mayBeChance(player) ? ', may be chance' : ''}`
}

/** Draw a node again: the canvas, and in Nodes 2.0 the component, which looks when its title is set. */
function refresh(node) {
  node.title = node.title
  node.setDirtyCanvas(true, true)
}
