"""How reading a request ends that is meant for us and can't be served as it stands."""


class Bad(Exception):
    """A request addressed to us that cannot be served as it stands.

    Attributes:
        code: a stable word for programs.
        sentence: what is wrong and what to do, without a word of the request.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
