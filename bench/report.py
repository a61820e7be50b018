"""Tables, plots and the goals, in the page that docs/performance.md keeps."""
import json
import math
import statistics

LIMIT, RIVAL, TEMPLATE = "`pg_dump >/dev/null`", "`pg_dump \\| gzip \\| aws s3 cp -`", "the old template"
AUTO, FASTEST = "this service, auto", "this service, 1"
AUTO_WITHOUT, FASTEST_WITHOUT = "this service without ISA-L, auto", "this service without ISA-L, 1"


def finished(said):
    return next(json.loads(line) for line in said.splitlines() if '"backup finished"' in line)


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def ratio(results, name, to, key):
    """The median of the rounds' ratios. A rival that ran in fewer rounds is compared in those."""
    pairs = [a[key] / b[key] for a, b in zip(results.get(name, ()), results.get(to, ())) if b.get(key)]
    return statistics.median(pairs) if pairs else None


def show(value, form="{:.2f}"):
    return "–" if value is None else form.format(value)


def rows(head, lines):
    head = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join(head + [f"| {' | '.join(map(str, line))} |" for line in lines])


def contest(results):
    lines = []
    for name, runs in results.items():
        walls = [run["wall"] for run in runs]
        level = statistics.median(finished(run["said"])["compression_level"] for run in runs) if name.startswith("this") else None
        size = ratio(results, name, RIVAL, "size")
        lines.append([
            name, len(runs), f"{median(runs, 'wall'):.2f} ({min(walls):.2f}–{max(walls):.2f})", show(ratio(results, name, LIMIT, "wall")), show(ratio(results, RIVAL, name, "wall")),
            f"{median(runs, 'cpu'):.2f}", show(ratio(results, name, RIVAL, "cpu")), f"{median(runs, 'served'):.2f}", f"{median(runs, 'own'):.0f}" if name.startswith("this") else "–", f"{median(runs, 'tree'):.0f}",
            f"{median(runs, 'disk'):.0f}", f"{median(runs, 'size') / 1e6:.0f}" if size else "–", show(size or None, "{:.3f}"), show(level, "{:.1f}"), f"{100 * median(runs, 'foreign'):.0f} %",
        ])
    return rows(["", "rounds", "wall s (least–most)", "÷ pg_dump", "gzip pipe ÷ it", "CPU client s", "÷ gzip pipe's", "CPU server s", "peak RSS MiB: this service", "all processes", "temporary disk MB",
                 "object MB", "÷ gzip -6's", "mean level", "foreign load"], lines)


def profile(runs, gigabytes):
    """Where a second of a backup goes: the medians of what each thread had."""
    names = {"postgres": "PostgreSQL: the server's side of COPY", "pg_dump": "`pg_dump`: from the socket to the pipe", "compress": "this service: compressing", "collect": "this service: cutting into parts, hashing them",
             "rest": "this service: reading the pipe, the tap, HTTP, signing", "store": "the bench's store (elsewhere in real life)", "idle": "nobody, and foreign load"}
    shares = {name: [] for name in names}
    for run in runs:
        threads = run["threads"]
        known = {name: threads.get(name, 0) for name in ("pg_dump", "compress", "collect")}
        known |= {"postgres": run["served"], "store": run["store"], "rest": max(0, run["cpu"] - sum(known.values()))}
        for name, seconds in known.items():
            shares[name].append({"second": seconds / run["wall"], "gigabyte": seconds / gigabytes})
        shares["idle"].append({"second": run["cores"] - sum(known.values()) / run["wall"], "gigabyte": 0})
    lines = [[text, f"{1000 * median(shares[name], 'second'):.0f}", "–" if name == "idle" else f"{median(shares[name], 'gigabyte'):.2f}"] for name, text in names.items()]
    return rows(["", "ms of a core, of each second", "core seconds for each GB of dump"], lines)


class Goals:
    def __init__(self):
        self.lines = []

    def add(self, text, value, most=None, least=None, form="{:.2f}"):
        bound = f"≤ {form.format(most)}" if least is None else f"≥ {form.format(least)}"
        if value is None:
            verdict = "not measured"
        elif value <= most if least is None else value >= least:
            verdict = "met"
        elif most == 0:
            verdict = "**missed**"
        else:
            verdict = f"**missed** by {100 * (value / most - 1 if least is None else 1 - value / least):.1f} %"
        self.lines.append([text, bound, show(value, form), verdict])

    def table(self):
        return rows(["goal", "bound", "figure", ""], self.lines)


def plot(path, title, unit, series):
    """A plot of lines over the size, both scales logarithmic."""
    width, height, left, right, top, bottom = 720, 340, 70, 210, 40, 40
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    x0, x1, y0, y1 = min(xs) / 1.3, max(xs) * 1.3, min(ys) / 2, max(ys) * 2
    place = lambda x, y: (left + (width - left - right) * math.log(x / x0) / math.log(x1 / x0), (height - bottom) - (height - bottom - top) * math.log(y / y0) / math.log(y1 / y0))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">', f'<rect width="{width}" height="{height}" fill="#fff"/>',
           f'<text x="{left}" y="20" font-size="14">{title}</text>']
    labelled = -math.inf
    for x in sorted(set(xs)):
        px, _ = place(x, y0)
        out.append(f'<line x1="{px:.0f}" y1="{top}" x2="{px:.0f}" y2="{height - bottom}" stroke="#ddd"/>')
        if px - labelled > 50:
            out.append(f'<text x="{px:.0f}" y="{height - bottom + 16}" text-anchor="middle">{x:.2g} GB</text>')
            labelled = px
    for power in range(-3, 7):
        for step in (1, 2, 5):
            y = step * 10.0**power
            if y0 <= y <= y1:
                _, py = place(x0, y)
                out.append(f'<line x1="{left}" y1="{py:.0f}" x2="{width - right}" y2="{py:.0f}" stroke="#eee"/><text x="{left - 6}" y="{py + 4:.0f}" text-anchor="end">{y:g} {unit}</text>')
    labels = []
    for (name, points), colour in zip(series.items(), ("#1f5fbf", "#888888", "#c0392b", "#2e8b57")):
        pixels = [place(x, y) for x, y in sorted(points)]
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)}"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in pixels]
        labels.append((pixels[-1][1], name, colour))
    # Beside the plot, each at its line's height or, where another is there, below that.
    lowest = -math.inf
    for y, name, colour in sorted(labels):
        lowest = max(y + 4, lowest + 15)
        out.append(f'<text x="{width - right + 8}" y="{lowest:.0f}" fill="{colour}">{name}</text>')
    with open(path, "w") as f:
        f.write("\n".join(out + ["</svg>"]) + "\n")
