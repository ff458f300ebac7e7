"""The option of jobs whose workers share this machine's disk."""


def add_shared_filesystem_argument(parser) -> None:
    """Adds it to a parser or a group of options."""
    parser.add_argument(
        "--shared_filesystem",
        action="store_true",
        help="with a runner on other machines: every worker sees local paths at the same place",
    )
