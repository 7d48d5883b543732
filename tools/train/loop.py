"""The training loop of one process: data-parallel on CPUs, one GPU otherwise. The first process leads."""

import os
import signal
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from common import Problem, say, write_json
from feed import Feed
from trainer import Run


def child(rank, *arguments):
    """Entry of a spawned process."""
    try:
        train(rank, *arguments)
    except Problem as error:
        say(f"error: {error}")
        sys.exit(1)


def train(rank, folder, preset, seed, art_file, resume, changes):
    """One process of the run. Returns when the schedule ends or somebody says stop."""
    parent = os.getppid()
    torch.set_num_threads(preset.threads)
    if preset.processes > 1:
        meet = f"file://{Path(folder).resolve()}/.rendezvous"
        dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=preset.processes)
    run = Run(folder, preset, seed, art_file, rank)
    lead = rank == 0
    if resume:
        run.load()
        if changes.get("hours") or changes.get("scenes"):  # a new length: counted in its own unit, decay open again
            run.preset.scenes = changes.get("scenes") or 0
            run.total = run.preset.scenes or changes["hours"] * 3600
            run.decay_from = None
        if lead:
            say(f"continued at step {run.step}, {run.scenes} scenes, {run.now() / 60:.1f} minutes")
    else:
        run.whiten()
        run.text_first()
    if preset.processes > 1:
        for p in run.master.parameters():
            dist.broadcast(p.data, 0)
        run.refresh()
    signal.signal(signal.SIGTERM, lambda *_: setattr(run, "stopping", True))
    signal.signal(signal.SIGINT, lambda *_: setattr(run, "stopping", True))
    feed = Feed(run.bank, run.seed, rank, preset.batch, preset.workers, preset.model.patch)
    saved = logged = time.monotonic()
    since, total_loss, count = run.scenes, 0.0, 0
    while True:
        if lead:
            run.orders()
            factor = run.rate()
            over = run.done() >= run.total
            progress = run.done() / max(1e-9, run.total)
            if run.phase < 2 and progress >= run.preset.latest[run.phase]:
                run.phase += 1
                say(f"phase {run.phase}: opened by the schedule, not by accuracy")
            whole = run.decay_from is not None and factor < run.preset.whole
            order = torch.tensor([factor, run.phase, float(over), float(run.stopping), float(whole)], dtype=torch.float64)
        else:
            order = torch.zeros(5, dtype=torch.float64)
        if preset.processes > 1:
            dist.broadcast(order, 0)
        factor, phase, over, stop, keep_all = order.tolist()
        run.phase = int(phase)
        if over or stop:
            break
        if os.getppid() != parent:
            raise Problem("the parent process is gone")
        total_loss += run.learn(feed, factor, bool(keep_all))
        count += 1
        if lead and run.step % run.preset.probe == 0:
            score = run.probe()
            run.history.append([run.step, run.scenes, round(run.now(), 1), run.phase, round(score, 4)])
            say(f"  clean accuracy {100 * score:.1f} % (phase {run.phase})")
            if run.phase < 2 and score >= run.preset.gates[run.phase]:
                run.phase += 1
                say(f"phase {run.phase}: opened by accuracy")
        now = time.monotonic()
        if lead and (now - logged > 15 or run.step in (1, 10)):
            speed = (run.scenes - since) / (now - logged)
            say(
                f"step {run.step}  {run.scenes} scenes  {run.now() / 60:.1f} min  loss {float(total_loss) / count:.3f}  "
                f"{speed:.0f} scenes/s  rate {factor:.3f}  phase {run.phase}  progress {100 * progress:.1f} %  "
                f"scale {run.master.logit_scale.exp().item():.1f}"
            )
            logged, since, total_loss, count = now, run.scenes, 0.0, 0
        if lead and now - saved > run.preset.save:
            run.save()
            saved = time.monotonic()
    if lead:
        score = run.probe()
        run.history.append([run.step, run.scenes, round(run.now(), 1), run.phase, round(score, 4)])
        run.save()
        status = {"finished": bool(over), "step": run.step, "scenes": run.scenes, "minutes": run.now() / 60, "clean": score}
        write_json(run.folder / "status.json", status)
        say(
            f"{'finished' if over else 'stopped'} at step {run.step}, {run.scenes} scenes, {run.now() / 60:.1f} minutes, "
            f"clean accuracy {100 * score:.1f} %"
        )
    if preset.processes > 1:
        dist.barrier()
        dist.destroy_process_group()
