"""A real nginx with a server block of the docs, as an ordinary program of a test."""

from pathlib import Path


def nginx_command(directory: Path, block: str) -> list[str]:
    """Write a configuration with this block into a directory; return what starts nginx with it."""
    paths = "".join(
        f"{name}_temp_path {directory}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = directory / "nginx.conf"
    config.write_text(
        f"daemon off; worker_processes 1; pid {directory}/pid; error_log {directory}/errors;\n"
        f"events {{}}\nhttp {{ access_log off; {paths}\n{block}\n}}\n"
    )
    return ["nginx", "-p", str(directory), "-c", str(config)]
