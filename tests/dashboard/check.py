"""Checks the page of examples/dashboard in headless Chromium: usage: check.py CHROMIUM PROFILE URL LIMIT PICTURE"""

import sys

from page import Page

KIB, MIB = 1 << 10, 1 << 20
# The read buffer and the message that is handled: 128 KiB and a tick, by the defaults of the client.
STREAM_BOUND = 256 * KIB

# What the page shows now: of each side the three numbers, and how many points each curve has.
SHOWN = """(() => {
    const of = (side) => Object.fromEntries(["waiting", "rate", "peak_memory"].map((key) => {
        const figure = document.querySelector(`#${side} .${key}`);
        const value = Number(figure.querySelector("output").dataset.value);
        return [key, { value, points: figure.querySelector("polyline").points.numberOfItems }];
    }));
    return { callback: of("callback"), stream: of("stream") };
})()"""
CURVES = f"Object.values({SHOWN}).flatMap((side) => Object.values(side))"


def move_slider(page, value):
    page.evaluate(f"""(() => {{
        const slider = document.querySelector("#speed");
        slider.value = {value};
        slider.dispatchEvent(new Event("input", {{ bubbles: true }}));
    }})()""")


def check(page, url, limit, picture):
    page.order("Page.navigate", url=url)
    page.wait("the page loads", "document.readyState === 'complete' && document.querySelector('#speed')", 10)
    # Both bounds are watched at each change from here on, not only where they are asked for.
    page.evaluate(f"""(() => {{
        window.most = {{ callback: 0, stream: 0 }};
        new MutationObserver(() => {{
            const now = {SHOWN};
            for (const side in most) most[side] = Math.max(most[side], now[side].waiting.value);
        }}).observe(document.querySelector("#seen"), {{ childList: true }});
    }})()""")

    page.wait("the curves have points", f"{CURVES}.every(({{ points }}) => points >= 10)", 10, SHOWN)
    before = page.evaluate(SHOWN)["stream"]["rate"]["points"]
    page.wait("the curves move", f"{CURVES}.every(({{ points }}) => points >= {before + 10})", 5, SHOWN)
    print(f"dashboard: six curves move, {before + 10} points and more")

    for exponent in (18, 22, 23, 20):
        move_slider(page, exponent)
        low, high = 0.6 * 2**exponent, 1.4 * 2**exponent
        follows = f"[{SHOWN}.callback, {SHOWN}.stream].every(({{ rate }}) => rate.value > {low} && rate.value < {high})"
        page.wait(f"both rates follow the slider to {2**exponent >> 10} KiB/s", follows, 8, SHOWN)
        last = page.evaluate("snapshots.at(-1).time")
        page.wait("the curves go on", f"snapshots.at(-1).time >= {last + 3}", 8, "snapshots.length")
    print("dashboard: both rates follow the slider: 256 KiB/s, 4, 8 and 1 MiB/s")

    restarted = "document.querySelector('#seen').textContent.includes('was started again')"
    page.wait("the event API comes to the limit and is started again", restarted, 20, "[most, " + SHOWN + "]")
    most = page.evaluate("most")
    assert most["callback"] > limit / 4, f"the queue behind the event API grew to {most['callback']} bytes only"
    assert most["callback"] < 1.5 * limit, f"the queue behind the event API grew to {most['callback']} bytes"
    assert 0 < most["stream"] <= STREAM_BOUND, f"{most['stream']} bytes waited behind the stream"
    print(f"dashboard: at most {most['callback'] // MIB} MiB waited behind the event API, "
          f"{most['stream'] // KIB} KiB behind the stream")

    page.wait("the curves are full", "snapshots.at(-1).time - snapshots[0].time > SPAN - 1", 30, SHOWN)
    page.wait("half of the limit waits", f"{SHOWN}.callback.waiting.value > {limit / 2}", 20, SHOWN)
    page.screenshot(picture)
    assert not page.errors, f"the page has errors: {page.errors}"
    print(f"dashboard: no error in the page; a picture of it is in {picture}")


def main():
    chromium, profile, url, limit, picture = sys.argv[1:]
    page = Page(chromium, profile, 1120, 870)
    try:
        check(page, url, int(limit), picture)
    finally:
        page.close()


main()
