"""What is wrong with a configuration, in sentences for its owner."""


class ConfigError(ValueError):
    """The configuration cannot be used. Each of `problems` is one line that names the key and its source.

    The command line prints them and ends with exit code 2. None repeats the value of a secret.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
