"""``create_sampler``: how the values of the next trial are chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError, DarknetError

try:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler, RandomSampler, TPESampler
    from optuna.trial import FrozenTrial, TrialState
except ImportError as error:
    raise DarknetError("hyperparameter search needs Optuna: pip install 'darknet-torch[tune]'") from error


class _TrialSampler(BaseSampler):
    """A sampler with a seed of its own for each trial.

    The values of a trial then depend on the seed, its number and the earlier trials only: a search that is continued
    gives the values of an uninterrupted one, and processes of one study with the same seed do not repeat each other.

    Args:
        create: Returns a sampler for a seed.
        seed: Seed of the search.
    """

    def __init__(self, create: Callable[[int], BaseSampler], seed: int) -> None:
        self._create = create
        self._seed = seed
        self._sampler = create(seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Seed the sampler for a trial."""
        self._sampler = self._create(int(np.random.SeedSequence([self._seed, trial.number]).generate_state(1)[0]))
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the parameters that are sampled together."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample parameters together."""
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Sample a parameter by itself."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Let the sampler note the result of a trial."""
        self._sampler.after_trial(study, trial, state, values)


def create_sampler(kind: str, *, seed: int = 0, population: int = 10) -> BaseSampler:
    """Return the sampler of a search.

    Args:
        kind: "nsga2": the genetic algorithm NSGA-II; "tpe": tree-structured Parzen estimators; "cmaes": CMA-ES, which
            samples choices at random; "random".
        seed: Seed of the search, 0 or more.
        population: Trials of a generation of NSGA-II, 2 or more.

    Raises:
        ConfigError: An argument is invalid.
    """
    if seed < 0:
        raise ConfigError(f"sampler_seed: expected 0 or more, got {seed}")
    if population < 2:
        raise ConfigError(f"population: expected 2 trials or more, got {population}")
    kinds: Mapping[str, Callable[[int], BaseSampler]] = {
        "nsga2": lambda number: NSGAIISampler(population_size=population, seed=number),
        "tpe": lambda number: TPESampler(seed=number),
        "cmaes": lambda number: CmaEsSampler(seed=number),
        "random": lambda number: RandomSampler(seed=number),
    }
    if kind not in kinds:
        raise ConfigError(f"sampler: expected one of {', '.join(kinds)}, got {kind!r}")
    return _TrialSampler(kinds[kind], seed)
