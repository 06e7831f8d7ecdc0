/** A badge with its share, or its contrast, on the node of every player. */
import { app } from '../../../scripts/app.js'
import { mayBeChance, percent, signed, worth } from './dom.js'
import { allNodes, nodeByExecutionId } from './graph.js'

const COLOURS = { toward: '#0f6fb8', away: '#b4540a', none: '#5c6472' }

/** A count of redraws, kept in the front end's reactive store: see `watchBadges`. */
const DRAWN = Symbol('copyscope.drawn')

/** @type {WeakSet<object>} */
const ours = new WeakSet()

/** The one node that holds a whole workflow, so that its players have no nodes of their own in the graph. */
const LOADER = 'CopyScopeLoaderCoalitions'
const MOST_LETTERS = 18

/**
 * Put a badge on every player's node, instead of those that are there; players that share a node (prompt phrases) share
 * the badge. Those of Loader Coalitions have one each on that node.
 * @param {object} root the root graph
 * @param {{players: object[], workflow: object | null, verdict: {basis: string}}} report
 * @param {object | null} source the node that the audit came from
 */
export function showBadges(root, report, source = null) {
  clear(root)
  if (source?.comfyClass === LOADER) {
    for (const player of report.players) put(source, [player], report.verdict.basis, `${clip(player.name)}: `)
  } else putByNode(root, report)
  const store = app.extensionManager
  if (store) store[DRAWN] = (store[DRAWN] ?? 0) + 1
  root.setDirtyCanvas(true, true)
}

function putByNode(root, report) {
  const byNode = new Map()
  for (const player of report.players) {
    if (player.node !== null) byNode.set(player.node, [...(byNode.get(player.node) ?? []), player])
  }
  for (const [id, players] of byNode) {
    const node = nodeByExecutionId(root, id)
    if (!node || node.comfyClass !== report.workflow?.[id]?.class_type) continue
    put(node, players, report.verdict.basis)
  }
}

/**
 * Let a node draw its badges again whenever they change. Nodes 2.0 looks at a badge again only if something reactive
 * that the badge has read changes, so every node carries an empty one that reads the count.
 * @param {object} node a new node
 */
export function watchBadges(node) {
  const empty = newBadge({ text: '' })
  if (!empty) return
  node.badges.push(() => {
    void app.extensionManager?.[DRAWN]
    return empty
  })
}

function put(node, players, basis, label = '') {
  const badge = makeBadge(players, basis, label)
  if (!badge) return
  ours.add(badge)
  node.badges.push(badge)
}

function clip(name) {
  return name.length > MOST_LETTERS ? `${name.slice(0, MOST_LETTERS)}…` : name
}

function clear(root) {
  for (const node of allNodes(root)) {
    const kept = (node.badges ?? []).filter((badge) => !ours.has(badge))
    if (kept.length === node.badges?.length) continue
    node.badges.splice(0, node.badges.length, ...kept)
  }
}

function makeBadge(players, basis, label) {
  const found = players.map((player) => worth(player, basis))
  const total = found.reduce((sum, { value }) => sum + value, 0)
  const sure = found.some((item) => !mayBeChance(item))
  const colour = !sure || total === 0 ? COLOURS.none : total > 0 ? COLOURS.toward : COLOURS.away
  const text = label + players.map((player) => describe(player, basis)).join(' · ')
  return newBadge({ text, fgColor: '#ffffff', bgColor: colour })
}

function newBadge(options) {
  const Badge = globalThis.LGraphBadge ?? globalThis.LiteGraph?.LGraphBadge
  return Badge ? new Badge(options) : null
}

function describe(player, basis) {
  if (player.no_effect) return 'no effect'
  const found = worth(player, basis)
  const said = basis === 'contrast' ? `contrast ${signed(found.value)}` : `share ${percent(player.share)}`
  return `${said}${mayBeChance(found) ? ', may be chance' : ''}`
}
