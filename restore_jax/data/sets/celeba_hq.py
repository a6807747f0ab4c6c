"""`CelebaHq`: 30,000 faces of 1024 x 1024, divided as CelebA is, of which they are a part.

python -m restore_jax.data.sets.celeba_hq FOLDER --data_dir=~/tensorflow_datasets
"""

from pathlib import Path

from restore_jax.data.sets.prepared import Card, Example, Prepared, Splits, main, pictures

MAPPING = "CelebA-HQ-to-CelebA-mapping.txt"
# CelebA's photographs 1 ... 162770 train, ... 182637 validate, ... 202599 test; no person is in two of them.
LAST = {"train": 162_770, "validation": 182_637, "test": 202_599}


class CelebaHq(Prepared):
    """As the archive of CelebAMask-HQ holds them; no person of one split is in another."""

    CARD = Card(
        about="CelebA-HQ: faces of well-known people.",
        homepage="https://github.com/switchablenorms/CelebAMask-HQ",
        licence="For non-commercial research and education only (see the homepage).",
        citation="Karras, Aila, Laine and Lehtinen: Progressive Growing of GANs for Improved Quality, Stability, and "
        "Variation. ICLR 2018. Lee, Liu, Wu and Luo: MaskGAN. CVPR 2020.",
        layout=f"CelebA-HQ-img/0.jpg ... CelebA-HQ-img/29999.jpg and {MAPPING} (the archive's folder CelebAMask-HQ)",
        configs={"1024": "1024 x 1024 pixels."},
        photographs={"train": 24_183, "validation": 2_993, "test": 2_824},
    )

    @staticmethod
    def splits(folder: Path, config: str) -> Splits:
        """By the number that the mapping gives each in CelebA."""
        del config
        faces = pictures(folder / "CelebA-HQ-img")
        found: Splits = {split: [] for split in LAST}
        if not faces:
            return found
        lines = [line.split() for line in (folder / MAPPING).read_text().splitlines()[1:] if line.strip()]
        origin = {line[0]: int(line[2].partition(".")[0]) for line in lines}
        for file in sorted(faces, key=lambda file: int(file.stem)):
            if file.stem not in origin:
                raise ValueError(f"{MAPPING} does not say which photograph of CelebA {file} is.")
            split = next(split for split, last in LAST.items() if origin[file.stem] <= last)
            found[split].append(Example(file.stem, file))
        return found


EXAMPLES = ()  # a builder, not a source: read what it prepared with `Tfds`

if __name__ == "__main__":
    main(CelebaHq)
