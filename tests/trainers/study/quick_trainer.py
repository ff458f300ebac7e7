"""Stands in for `mmstack train` where a test is about processes: same flags, files, exit codes.

Takes `trainer.train_steps` steps, remembers the step after each, and waits there while the working
folder has a file `hold`. Logs `eval/toy/score` = 10 * task.width + seed + step / train_steps.
`task.temperature` 9 fails at step 3.
"""

import argparse
import json
import pathlib
import signal
import sys
import time

import yaml

STOP_REQUESTS = []


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: STOP_REQUESTS.append(1))
    parser = argparse.ArgumentParser()
    parser.add_argument("--config_file")
    parser.add_argument("--model_dir", type=pathlib.Path)
    args = parser.parse_args()
    config = yaml.safe_load(pathlib.Path(args.config_file).read_text())
    steps, seed = config["trainer"]["train_steps"], config["trainer"]["seed"]
    position = args.model_dir / "position"
    start = int(position.read_text()) if position.exists() else 0
    print(f"started at {start}", flush=True)
    for step in range(start + 1, steps + 1):
        if config["task"]["temperature"] == 9 and step == 3:
            print("out of luck", flush=True)
            return 1
        score = 10 * config["task"]["width"] + seed + step / steps
        with (args.model_dir / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, "eval/toy/score": score}) + "\n")
        position.write_text(str(step))
        while pathlib.Path("hold").exists() and not STOP_REQUESTS:
            time.sleep(0.01)
        if STOP_REQUESTS:
            return 42
    return 0


if __name__ == "__main__":
    sys.exit(main())
