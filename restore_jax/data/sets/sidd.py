"""`Sidd`: noisy photographs of five telephones, each with a clean one of the same scene.

python -m restore_jax.data.sets.sidd FOLDER --data_dir=~/tensorflow_datasets
"""

from pathlib import Path

from restore_jax.data.sets.prepared import Card, Example, Prepared, Splits, main, pictures


class Sidd(Prepared):
    """One split, `train`, of pairs in sRGB; the validation and benchmark blocks are MATLAB files and stay so."""

    CARD = Card(
        about="SIDD: the Smartphone Image Denoising Dataset, in sRGB.",
        homepage="https://abdokamel.github.io/sidd/",
        licence="As on the homepage, which is to be read before use.",
        citation="Abdelhamed, Lin and Brown: A High-Quality Denoising Dataset for Smartphone Cameras. CVPR 2018.",
        layout="Data/0001_001_S6_00100_00060_3200_L/GT_SRGB_010.PNG and NOISY_SRGB_010.PNG (SIDD-Small), or "
        "0001_GT_SRGB_010.PNG and 0001_NOISY_SRGB_010.PNG, two pairs a scene (SIDD-Medium)",
        configs={
            "medium": "SIDD-Medium: two pairs of each of 160 scene instances.",
            "small": "SIDD-Small: one pair of each of 160 scene instances.",
        },
        photographs={"train": 320},
    )

    @staticmethod
    def splits(folder: Path, config: str) -> Splits:
        """A pair is two files of a scene's folder, `GT` in the name of one where the other has `NOISY`."""
        del config  # both archives lie alike
        examples = []
        for clean in pictures(folder / "Data"):
            if "GT_SRGB" not in clean.name:
                continue
            noisy = clean.with_name(clean.name.replace("GT_SRGB", "NOISY_SRGB"))
            if not noisy.is_file():
                raise ValueError(f"{noisy} is absent, the observation of {clean.name}: unpack the archive anew.")
            examples.append(Example(clean.relative_to(folder / "Data").with_suffix("").as_posix(), clean, noisy))
        return {"train": examples}


EXAMPLES = ()  # a builder, not a source: read what it prepared with `Tfds`

if __name__ == "__main__":
    main(Sidd)
