"""The rows of the tables on accuracy: what is trained, and the published figures beside it."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.accuracy_presets import Trial

SEEDS = 3
FIXED = (  # the same whatever the seed
    "popularity",
    "most_bought",
    "recency_frequency",
    "tifu_knn",
    "recent_popularity",
    "follows",
    "ease",
)
CORNER_STORE = "corner-store"  # the one data set that the seed makes anew
LABELS = {
    "ndcg@10": "NDCG@10",
    "hit_rate@10": "HR@10",
    "recall@10": "recall@10",
    "rmse": "RMSE",
    "mae": "MAE",
    "auc": "AUC",
}
RANKING = ("ndcg@10", "hit_rate@10")
BASKETS = ("ndcg@10", "recall@10")  # a basket holds several items

BASKET_MODELS = (
    "popularity",
    "most_bought",
    "recency_frequency",
    "tifu_knn",
    "recent_popularity",
    "ease",
    "ials",
    "follows",
    "ancf",
)


class Published(NamedTuple):
    """Figures that others report, in the order of the group's metrics.

    None stands for one that is not reported.
    """

    model: str
    figures: tuple[float | None, ...]
    source: str


class Group(NamedTuple):
    """Models on one data set under one protocol: rows that may be compared.

    The first metric is the main one.
    """

    name: str
    heading: str
    models: tuple[str, ...]
    metrics: tuple[str, ...] = RANKING
    published: tuple[Published, ...] = ()

    def rows(self, seeds: int, extra: tuple[str, ...]) -> dict[str, list[Trial]]:
        """The runs of every model, one a seed; one alone where the seed changes nothing."""
        return {model: self._trials(model, seeds, extra) for model in self.models}

    def _trials(self, model: str, seeds: int, extra: tuple[str, ...]) -> list[Trial]:
        count = 1 if model in FIXED and self.name != CORNER_STORE else seeds
        return [
            Trial(f"{self.name}-{model}", seed, extra=extra) for seed in range(count)
        ]


class Variant(NamedTuple):
    """`ancf` with one part switched off.

    Attributes:
        name: for files.
        label: for people.
        flags: what switches it off.
        part: what the full model has instead.
        needs: what the data must have.
    """

    name: str
    label: str
    flags: tuple[str, ...]
    part: str
    needs: str = ""


class Study(NamedTuple):
    """An ablation study on one data set.

    Attributes:
        name: the full model's preset.
        heading: for people.
        has: what variants may need of the data, such as a clock or repeated purchases.
    """

    name: str
    heading: str
    has: tuple[str, ...] = ()

    def rows(self, seeds: int, extra: tuple[str, ...]) -> dict[Variant, list[Trial]]:
        """The runs of every variant, one a seed.

        Those of the full model are those of the results table.
        """
        variants = [
            variant
            for variant in VARIANTS
            if not variant.needs or variant.needs in self.has
        ]
        return {
            variant: [self._trial(variant, seed, extra) for seed in range(seeds)]
            for variant in variants
        }

    def _trial(self, variant: Variant, seed: int, extra: tuple[str, ...]) -> Trial:
        return Trial(self.name, seed, variant.name, (*variant.flags, *extra))


NCF_PAPER = "He et al. 2017, as in guoyang9/NCF; best epoch chosen on test"
RENDLE = "Rendle et al. 2020, Dacrema et al. 2019"
OWN_SPLIT = "split of its own, with real times"
RECBOARD = "RecBoard benchmark, 2026-07"
WEAK = "a weak anchor, far below later trainings of the same model"

STRONG_ON_BEAUTY = (
    Published("BSARec, cross-entropy", (0.0609, 0.1004), f"5 seeds; {RECBOARD}"),
    Published("HSTU", (0.0541, 0.0948), f"5 seeds; {RECBOARD}"),
    Published("eSASRec", (0.0523, 0.0928), "RecTools transformer_benchmark"),
    Published(
        "SASRec, sampled softmax",
        (0.0531, 0.0921),
        "RecTools transformer_benchmark",
    ),
)
GROUPS = (
    Group(
        "ncf-ml-1m",
        "MovieLens 1M, the files of the NCF paper, their 99 negatives",
        ("popularity", "ease", "ials", "mf", "neumf", "ancf"),
        published=(
            Published(
                "NeuMF",
                (0.425, 0.701),
                f"without pre-training, 32 factors; {NCF_PAPER}",
            ),
            Published("NeuMF, pre-trained", (0.445, 0.726), NCF_PAPER),
            Published("PureSVD", (0.4294, 0.6896), RENDLE),
            Published("iALS", (0.4383, 0.7111), RENDLE),
            Published("SLIM", (0.4468, 0.7162), RENDLE),
            Published(
                "MF, dot product", (0.4523, 0.7294), "192 factors; Rendle et al. 2020"
            ),
            Published(
                "SASRec",
                (0.5918, 0.8225),
                "100 random negatives, another split; it uses order, as ancf does and the models "
                "above do not; pmixer/SASRec.pytorch",
            ),
        ),
    ),
    Group(
        "gsasrec-ml-1m",
        "MovieLens 1M, the split of SASRec and gSASRec, full ranking",
        ("popularity", "ease", "ials", "ancf"),
        published=(
            Published("SASRec", (0.1259, 0.2392), "BCE, 1 negative; gSASRec-pytorch"),
            Published(
                "gSASRec", (0.1726, 0.3003), "gBCE, 256 negatives; gSASRec-pytorch"
            ),
            Published(
                "eSASRec",
                (0.1772, 0.3133),
                f"{OWN_SPLIT}; RecTools transformer_benchmark",
            ),
            Published(
                "FuXi-alpha",
                (0.1813, 0.3164),
                f"{OWN_SPLIT}; RecTools transformer_benchmark",
            ),
            Published(
                "HSTU", (0.1720, 0.3097), f"{OWN_SPLIT}; generative-recommenders"
            ),
            Published(
                "HSTU-large", (0.1893, 0.3294), f"{OWN_SPLIT}; generative-recommenders"
            ),
            Published(
                "HSTU-large, stable",
                (0.2164, 0.3642),
                f"{OWN_SPLIT}, ties in time sorted stably; RecTools",
            ),
        ),
    ),
    Group(
        "s3rec-beauty",
        "Amazon Beauty 5-core, leave-one-out, full ranking; validation events train, too",
        ("popularity", "ease", "ials", "follows", "ancf"),
        published=(
            *STRONG_ON_BEAUTY,
            Published(
                "TIGER",
                (0.0384, 0.0648),
                f"Rajput et al. 2023; not checked again; {WEAK}",
            ),
            Published(
                "S3-Rec", (0.0327, 0.0647), f"table of the S3-Rec repository; {WEAK}"
            ),
            Published(
                "SASRec", (0.0318, 0.0605), f"table of the S3-Rec repository; {WEAK}"
            ),
        ),
    ),
    Group(
        "s3rec-beauty-held",
        "Amazon Beauty 5-core, leave-one-out, full ranking; validation events do not train",
        ("follows", "ancf"),
        published=STRONG_ON_BEAUTY,
    ),
    Group(
        "tafeng",
        "Ta-Feng, groceries: what will a shopper take on the next visit? Each shopper's last "
        "basket, repeat purchases allowed, full ranking",
        (
            "popularity",
            "most_bought",
            "recency_frequency",
            "tifu_knn",
            "ease",
            "ials",
            "follows",
            "ancf",
        ),
        BASKETS,
        (
            Published(
                "TIFU-kNN",
                (None, 0.1301),
                "Hu et al. 2020, another split; reproduced as .1277 by Li et al. 2023",
            ),
        ),
    ),
    Group(
        "ml-100k",
        "MovieLens 100K, fold u1, ratings",
        ("linear", "ancf"),
        ("rmse", "mae"),
        (Published("GLocal-K", (0.8889, None), "Han et al. 2021"),),
    ),
    Group(
        "completejourney",
        "The Complete Journey, household groceries (a sample of 7 % of the lines): what comes "
        "next, where a part of the basket may be known? Repeat purchases allowed, full ranking",
        ("popularity", "most_bought", "ease", "ials", "neumf", "ancf"),
    ),
    Group(
        "completejourney-next",
        "The Complete Journey: what will a household take on the next visit? Each household's "
        "last basket (a sample of 7 % of the lines, so that baskets are broken), repeat purchases "
        "allowed, full ranking",
        BASKET_MODELS,
        BASKETS,
    ),
    Group(
        "completejourney-time",
        "The Complete Journey: what will households take from a date on? All baskets of the "
        "latest tenth of the events (a sample of 7 % of the lines, so that baskets are broken), "
        "repeat purchases allowed, full ranking",
        BASKET_MODELS,
        BASKETS,
    ),
    Group(
        CORNER_STORE,
        "Corner store (simulated, a new shop for every seed): what comes next, with the rest of "
        "the visit known? Full ranking",
        ("popularity", "most_bought", "ease", "ancf"),
    ),
    Group(
        "globo",
        "Globo news clicks, dwell time, held-out events",
        ("engagement",),
        ("auc",),
    ),
)

# Windows need causal attention; without it an example is one event, and the whole catalogue for
# each is too much.
SAMPLED = ("--objective.loss", "sampled_softmax", "--objective.negatives", "64")
BY_EVENT = ("--loop.batch-size", "512", *SAMPLED)
FULL = Variant("", "full", (), "")
VARIANTS = (
    FULL,
    Variant("mf-alone", "MF path alone", ("--network.no-mlp-path",), "the MLP path"),
    Variant("mlp-alone", "MLP path alone", ("--network.no-mf-path",), "the MF path"),
    Variant(
        "no-history",
        "no history",
        ("--network.history", "none", *BY_EVENT),
        "attention over the history",
    ),
    Variant(
        "candidate",
        "candidate attention",
        ("--network.history", "candidate", *BY_EVENT),
        "causal instead of candidate attention",
        "few events",  # it looks at a whole history again for every candidate of every event
    ),
    Variant(
        "sampled",
        "64 sampled negatives",
        SAMPLED,
        "the softmax over the whole catalogue",
    ),
    Variant(
        "no-time",
        "no temporal encoding",
        ("--network.temporal",),
        "the temporal encoding",
        "clock",
    ),
    Variant(
        "no-repeats",
        "no memory of what was had",
        ("--network.no-repeats",),
        "what was had weighing by itself",
        "repeats",
    ),
    Variant(
        "no-followers",
        "no memory of what follows",
        ("--network.followers", "0"),
        "what tends to follow weighing by itself",
        "followers",
    ),
    Variant(
        "no-popularity",
        "no popularity",
        ("--network.no-popularity",),
        "popularity weighing by itself",
    ),
    Variant(
        "no-hierarchy",
        "no hierarchy",
        ("--network.no-hierarchy",),
        "the hierarchy",
        "features",
    ),
)
STUDIES = (
    Study("gsasrec-ml-1m-ancf-short", "MovieLens 1M, the split of SASRec and gSASRec"),
    Study("s3rec-beauty-ancf", "Amazon Beauty 5-core", ("features", "followers")),
    Study(
        "completejourney-ancf", "The Complete Journey", ("clock", "features", "repeats")
    ),
    Study(
        "corner-store-ancf",
        "Corner store (simulated)",
        ("clock", "features", "repeats", "few events"),
    ),
)
