"""All benchmarks, one after the other: ours and the peers in the same runs, on the machine at hand.

    python tests/benchmarks --data-dir DIR [--rounds 3]

Prints the tables of attacks.py, corruptions.py, training.py (where TorchUncertainty is installed)
and limits.py. Each can be run by itself, with options of its own. Leave the machine alone meanwhile.
"""

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

SCRIPTS = ("attacks.py", "corruptions.py", "training.py", "limits.py")


def main() -> None:
    """Run the scripts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    options = ["--data-dir", str(chosen.data_dir), "--rounds", str(chosen.rounds)]
    for script in SCRIPTS:
        if script == "training.py" and importlib.util.find_spec("torch_uncertainty") is None:
            print("\ntraining.py: TorchUncertainty is not installed; see the head of that file")
            continue
        print(f"\n## {script}\n", flush=True)
        subprocess.run(
            [sys.executable, str(Path(__file__).with_name(script)), *options], check=True
        )


if __name__ == "__main__":
    main()
