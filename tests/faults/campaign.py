"""The fault campaign: kills and other faults at random moments of real audits, each followed by the same command.

    python -m tests.faults.campaign --comfyui ~/comfy/ComfyUI --out FOLDER

After each fault the audit must finish by the same command, redo at most the two coalitions that were in flight, the one
being fetched and the one running, and give the report of an undisturbed run to the last bit. One line of JSON a fault
goes to ``FOLDER/campaign.jsonl``; the counts are printed at the end. Any failure ends the campaign with its reason and
exit code 1.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from copyscope_core.comfyui.host import ManagedHost
from copyscope_core.planning.steps import CANARIES

from .lab import PROMPTS, CampaignError, Client, Lab, ask, differing, entries, numbers, without_custody
from .proxy import cutting_proxy

KILLS_AN_AUDIT = 4


class Campaign:
    """Runs faults one after another and counts them."""

    def __init__(self, lab: Lab, chance: random.Random) -> None:
        self.lab = lab
        self.chance = chance
        self.counts: Counter[str] = Counter()
        self.span = 0.0
        self._log = (lab.folder / "campaign.jsonl").open("a", encoding="utf-8")

    def undisturbed(self) -> None:
        """Run the audit once without a fault, and remember its report and how long it takes."""
        out = self.lab.new_out("undisturbed")
        client = self.lab.client(out, server=self.lab.host.url)
        ended = client.wait()
        if ended.code != 0:
            raise CampaignError(ended.said)
        self.span = time.monotonic() - client.started
        self.lab.expected = numbers(out / "report.json")
        self.note("undisturbed", seconds=round(self.span, 2))

    def note(self, fault: str, **facts: Any) -> None:
        """Count a fault that was survived."""
        self.counts[fault] += 1
        self._log.write(json.dumps({"fault": fault, "number": self.counts[fault], **facts}) + "\n")
        self._log.flush()
        print(f"{fault} {self.counts[fault]} {facts}", flush=True)

    def pause(self, client: Client) -> bool:
        """Wait for a random moment of an audit; False where the client ended before.

        A whole audit that ends before says anew how long one takes, for the machine's load changes.
        """
        limit = client.started + self.chance.uniform(0.15, 1.0) * self.span
        while time.monotonic() < limit:
            if not client.running:
                if client.fresh:
                    self.span = time.monotonic() - client.started
                return False
            time.sleep(0.01)
        return client.running

    def kill_clients(self, wanted: int) -> None:
        """``kill -9`` of the client, with a server that stays."""
        lab = self.lab
        while self.counts["kill client"] < wanted:
            out = lab.new_out("client")
            before = lab.prompts(lab.folder / "kept.log")
            kills = 0
            for _ in range(min(KILLS_AN_AUDIT, wanted - self.counts["kill client"])):
                client = lab.client(out, server=lab.host.url)
                if not self.pause(client):
                    client.wait()
                    break
                client.kill()
                kills += 1
                self.note("kill client", audit=out.name, stored=entries(out))
            lab.finish(out, server=lab.host.url)
            self.frugal(out, lab.prompts(lab.folder / "kept.log") - before, kills)

    def kill_servers(self, wanted: int) -> None:
        """``kill -9`` of a server that somebody else runs, and starts again."""
        lab = self.lab
        while self.counts["kill server"] < wanted:
            out = lab.new_out("server")
            before = lab.prompts(lab.folder / "kept.log")
            kills = 0
            for _ in range(min(KILLS_AN_AUDIT, wanted - self.counts["kill server"])):
                client = lab.client(out, server=lab.host.url)
                if not self.pause(client):
                    client.wait()
                    break
                lab.kill_host(lab.host)
                kills += 1
                ended = client.wait()
                if ended.code == 2 and "Error: " not in ended.said:
                    raise CampaignError(f"{out.name}: no sentence: {ended.said[-500:]}")
                lab.host.start()
                self.note("kill server", audit=out.name, stored=entries(out), code=ended.code)
            lab.finish(out, server=lab.host.url)
            self.frugal(out, lab.prompts(lab.folder / "kept.log") - before, kills)

    def kill_one_of_two(self, wanted: int) -> None:
        """``kill -9`` of one of two servers that share an audit; the other finishes it, in the same command."""
        lab = self.lab
        with ManagedHost(lab.comfyui, ("--cpu",), lab.folder / "second.log", lab.base) as second:
            hosts = [lab.host, second]
            while self.counts["kill one of two servers"] < wanted:
                out = lab.new_out("shared")
                client = lab.client(out, server=[host.url for host in hosts])
                killed = self.chance.choice(hosts)
                if self.pause(client):
                    lab.kill_host(killed)
                    self.note("kill one of two servers", audit=out.name, stored=entries(out))
                ended = client.wait()
                if ended.code != 0:
                    raise CampaignError(f"{out.name}: one server was left, and the client said {ended.said[-500:]}")
                lab.check(out)
                if not killed.alive:
                    killed.start()

    def kill_own_servers(self, wanted: int, both: bool) -> None:
        """``kill -9`` of the server that the client started, or of client and server at once."""
        lab, name = self.lab, "kill both" if both else "kill own server"
        while self.counts[name] < wanted:
            out = lab.new_out("both" if both else "own")
            kills = 0
            client = lab.client(out)
            while kills < 3 and self.counts[name] < wanted:
                self.own_server_up(client)
                client.started = time.monotonic()
                if not self.pause(client):
                    break
                for server in lab.servers():
                    server.kill()
                kills += 1
                if both:
                    client.kill()
                self.note(name, audit=out.name, stored=entries(out))
                if not both:
                    time.sleep(1)
                if not client.running:
                    client.wait()
                    self.no_server_left()
                    client = lab.client(out)
            if client.wait().code != 0:
                lab.finish(out)
            lab.check(out)
            self.no_server_left()
            self.frugal(out, lab.prompts(out / "comfyui.log"), kills)

    def own_server_up(self, client: Client) -> None:
        """Wait until the client's own server answers its first prompt, or the client ends."""
        log = client.out / "comfyui.log"
        seen = self.lab.prompts(log)
        deadline = time.monotonic() + 120
        while client.running and self.lab.prompts(log) <= seen and time.monotonic() < deadline:
            time.sleep(0.02)

    def no_server_left(self) -> None:
        """A server outlives its client by seconds at most."""
        deadline = time.monotonic() + 20
        while self.lab.servers():
            if time.monotonic() > deadline:
                raise CampaignError("a server outlived the client that started it")
            time.sleep(0.1)

    def kill_graph_servers(self, wanted: int) -> None:
        """``kill -9`` of the server while it runs an audit inside a graph; the same POST finishes it."""
        lab = self.lab
        runs = lab.base / "output" / "copyscope"
        undisturbed = self._post_graph()
        span, expected = undisturbed
        while self.counts["kill graph's server"] < wanted:
            shutil.rmtree(runs, ignore_errors=True)
            for _ in range(min(KILLS_AN_AUDIT, wanted - self.counts["kill graph's server"])):
                prompt = self._queue_graph()
                time.sleep(self.chance.uniform(0.05, 1.0) * span)
                if self._done(prompt):
                    break
                lab.kill_host(lab.host)
                lab.host.start()
                stored = len(list(runs.glob("*/coalitions/[!.]*/entry.json")))
                self.note("kill graph's server", stored=stored)
            if (found := self._post_graph()[1]) != expected:
                fields = differing(found, expected)
                raise CampaignError(f"the report of an audit in a graph differs from the undisturbed one in {fields}")

    def _queue_graph(self) -> str:
        answer = ask(f"{self.lab.host.url}/prompt", {"prompt": self.lab.graph()})
        return str(answer["prompt_id"])

    def _done(self, prompt: str) -> bool:
        return bool(ask(f"{self.lab.host.url}/history/{prompt}"))

    def _post_graph(self) -> tuple[float, Any]:
        started = time.monotonic()
        prompt = self._queue_graph()
        while not self._done(prompt):
            if time.monotonic() - started > 300:
                raise CampaignError("an audit in a graph hangs")
            time.sleep(0.05)
        entry = ask(f"{self.lab.host.url}/history/{prompt}")[prompt]
        if entry["status"]["status_str"] != "success":
            raise CampaignError(f"an audit in a graph failed: {entry['status']}")
        return time.monotonic() - started, without_custody(entry["outputs"]["23"]["copyscope_report"][0])

    def memory(self) -> None:
        """The server runs out of memory at one coalition; then twice at one, which is reported."""
        lab = self.lab
        out = lab.new_out("memory")
        lab.order("memory")
        ended = lab.client(out, server=lab.host.url).wait()
        if ended.code != 0 or "out of memory" not in ended.said:
            raise CampaignError(f"out of memory once: {ended}")
        lab.check(out)
        out = lab.new_out("memory-twice")
        lab.order("memory", "memory", "memory")  # the prompt queued ahead may meet one
        ended = lab.client(out, server=lab.host.url).wait()
        if ended.code != 2 or "memory" not in ended.said:
            raise CampaignError(f"out of memory twice: {ended}")
        lab.finish(out, server=lab.host.url)
        self.note("out of memory", once="tried again", twice="reported")

    def hang(self) -> None:
        """A server that hangs: somebody else's is reported after two tries, our own is started again."""
        lab = self.lab
        out = lab.new_out("hang")
        lab.order("hang 25")
        ended = lab.client(out, server=lab.host.url, timeout=5).wait()
        if ended.code != 2 or "no sign of progress" not in ended.said:
            raise CampaignError(f"hang: {ended}")
        lab.finish(out, server=lab.host.url)
        out = lab.new_out("hang-own")
        lab.order("hang 600")
        ended = lab.client(out, timeout=5).wait()
        if ended.code != 0 or "started again" not in ended.said:
            raise CampaignError(f"hang of our own: {ended}")
        lab.check(out)
        self.note("hang", other="reported", own="started again")

    def websocket(self) -> None:
        """Every websocket is cut a moment after it is opened."""
        lab = self.lab
        out = lab.new_out("websocket")
        with cutting_proxy(int(lab.host.url.rpartition(":")[2])) as proxy:
            ended = lab.client(out, server=proxy.url).wait()
            cuts = proxy.cut
        if ended.code != 0 or not cuts:
            raise CampaignError(f"websocket: {cuts} cuts, {ended}")
        lab.check(out)
        self.note("websocket cut", cuts=cuts)

    def interrupt(self) -> None:
        """Somebody presses the server's stop button."""
        lab = self.lab
        out = lab.new_out("interrupt")
        client = lab.client(out, server=lab.host.url)
        while entries(out) < 1 and client.running:
            time.sleep(0.01)
        while client.running:
            if ask(f"{lab.host.url}/queue")["queue_running"]:
                ask(f"{lab.host.url}/interrupt", {})
            time.sleep(0.05)
        ended = client.wait()
        if ended.code != 2 or "stopped" not in ended.said:
            raise CampaignError(f"interrupt: {ended}")
        lab.finish(out, server=lab.host.url)
        self.note("interrupt", stored=entries(out))

    def full_disk(self) -> None:
        """The run folder's file system is full; then it has space again. Needs the right to mount one."""
        lab = self.lab
        out = lab.new_out("disk")
        out.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "copyscope-faults", str(out)]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            print("full disk: SKIPPED, no right to mount a small file system", flush=True)
            return
        try:
            ended = lab.client(out, server=lab.host.url).wait()
            if ended.code != 2 or "disk is full" not in ended.said:
                raise CampaignError(f"full disk: {ended}")
            stored = entries(out)
            subprocess.run(["mount", "-o", "remount,size=64m", str(out)], check=True)
            lab.finish(out, server=lab.host.url)
        finally:
            subprocess.run(["umount", "-l", str(out)], check=False)
        self.note("full disk", stored=stored)

    def two_at_once(self) -> None:
        """Two audits in one folder: one is refused with a sentence, the other finishes."""
        lab = self.lab
        out = lab.new_out("two")
        first = lab.client(out, server=lab.host.url)
        while not (out / "run.json").exists() and first.running:
            time.sleep(0.01)
        second = lab.client(out.with_name(out.name), server=lab.host.url)
        refused = second.wait()
        if refused.code != 2 or "Another audit is running" not in refused.said:
            raise CampaignError(f"two at once: {refused}")
        if first.wait().code != 0:
            raise CampaignError("two at once: the first did not finish")
        lab.check(out)
        self.note("two audits at once")

    def damage(self, rounds: int) -> None:
        """Files of a finished run are cut short or changed; what is damaged is redone and nothing else."""
        lab = self.lab
        out = lab.new_out("damage")
        lab.finish(out, server=lab.host.url)
        kinds = {
            "image": ("coalitions/*/0000.png", 1),
            "manifest": ("coalitions/[!.]*/entry.json", 1),
            "feature": ("features/*/*.safetensors", 0),
            "run file": ("run.json", 0),
            "report": ("report.json", 0),
        }
        for _ in range(rounds):
            for kind, (pattern, redone) in kinds.items():
                path = self.chance.choice(sorted(out.glob(pattern)))
                data = bytearray(path.read_bytes())
                where = self.chance.randrange(len(data))
                how = self.chance.choice(["cut short", "changed"])
                if how == "changed":
                    data[where] ^= self.chance.randrange(1, 256)
                path.write_bytes(data[:where] if how == "cut short" else data)
                before = lab.prompts(lab.folder / "kept.log")
                lab.finish(out, server=lab.host.url)
                made = lab.prompts(lab.folder / "kept.log") - before
                enough = redone and redone + CANARIES  # what is sampled anew is followed by canaries
                if not redone <= made <= enough:
                    raise CampaignError(f"{kind} {how} at {where}: {made} prompts were run, {enough} are enough")
                self.note("damaged file", kind=kind, how=how, redone=made)

    def frugal(self, out: Path, prompts: int, kills: int) -> None:
        """At most two coalitions are redone at each kill: the one being fetched and the one running."""
        if prompts > PROMPTS + 2 * kills:
            raise CampaignError(f"{out.name}: {prompts} prompts for {PROMPTS} and {kills} kills")


def main() -> int:
    """Run the campaign; 0 where everything survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    parser.add_argument("--out", type=Path, required=True, help="folder for the campaign; emptied first")
    parser.add_argument("--kills", type=int, default=130, help="kills in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="faults to make, by name, with commas")
    arguments = parser.parse_args()
    lab = Lab(arguments.out.resolve(), arguments.comfyui.expanduser())
    share = arguments.kills / 13
    with lab.host:
        campaign = Campaign(lab, random.Random(arguments.seed))
        faults: dict[str, Callable[[], None]] = {
            "two": campaign.two_at_once,
            "memory": campaign.memory,
            "websocket": campaign.websocket,
            "interrupt": campaign.interrupt,
            "disk": campaign.full_disk,
            "damage": lambda: campaign.damage(2),
            "hang": campaign.hang,
            "client": lambda: campaign.kill_clients(round(4 * share)),
            "server": lambda: campaign.kill_servers(round(3 * share)),
            "shared": lambda: campaign.kill_one_of_two(round(1 * share)),
            "graph": lambda: campaign.kill_graph_servers(round(2 * share)),
            "own": lambda: campaign.kill_own_servers(round(1 * share), both=False),
            "both": lambda: campaign.kill_own_servers(round(2 * share), both=True),
        }
        wanted = [name for name in arguments.only.split(",") if name] or list(faults)
        try:
            campaign.undisturbed()
            for name in wanted:
                faults[name]()
        except CampaignError as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    kills = sum(count for name, count in campaign.counts.items() if name.startswith("kill"))
    print(json.dumps({"kills": kills, **campaign.counts}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
