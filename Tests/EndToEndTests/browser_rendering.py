"""Markdown as the chat page shows it: what comes out of what, also of what is hostile. For browser.py."""

import random
import re

from browser_page import Page

SCRIPT = "<script>document.title = 'hacked'</script><img src=x onerror=\"document.title='hacked'\">"

# Renders each text whole and in pieces; answers with [whole, in pieces, milliseconds] of each.
RENDER = """
const [cases, done] = arguments;
import("/chat/markdown.js").then(({ MarkdownView }) => cases.map((pieces) => {
  const elements = [document.createElement("div"), document.createElement("div")];
  const views = elements.map((e) => new MarkdownView(e));
  views[0].append(pieces.join(""));
  views[0].render(false);
  const begin = performance.now();
  for (const piece of pieces) { views[1].append(piece); views[1].render(true); }
  views[1].render(false);
  for (const element of elements) element.normalize();
  return [...elements.map((e) => e.innerHTML), performance.now() - begin];
})).then(done, (error) => done(String(error)));
"""

RENDERED = [
    ("# One\ntext", "<h3>One</h3><p>text</p>"),
    ("a **b *c* d** e", "<p>a <strong>b <em>c</em> d</strong> e</p>"),
    ("snake_case_name, 2 * 3 * 4, ~~no~~", "<p>snake_case_name, 2 * 3 * 4, <del>no</del></p>"),
    ("***x*** `a *b* <i>` \\*y\\*", "<p><em><strong>x</strong></em> <code>a *b* &lt;i&gt;</code> *y*</p>"),
    ("one\ntwo<br>three &lt; &amp;", "<p>one<br>two<br>three &lt; &amp;</p>"),
    (SCRIPT, "<p>" + SCRIPT.replace("<", "&lt;").replace(">", "&gt;") + "</p>"),
    ("[x](javascript:alert(1)) [y](/chat)", "<p>[x](javascript:alert(1)) [y](/chat)</p>"),
    ("[z](https://e.org/a_(b) \"t\")",
     '<p><a href="https://e.org/a_(b)" target="_blank" rel="noopener noreferrer">z</a></p>'),
    ("see https://e.org/x, (https://e.org/y).",
     '<p>see <a href="https://e.org/x" target="_blank" rel="noopener noreferrer">https://e.org/x</a>, '
     '(<a href="https://e.org/y" target="_blank" rel="noopener noreferrer">https://e.org/y</a>).</p>'),
    ("![pixel](https://evil.org/p.png)",
     '<p><a href="https://evil.org/p.png" target="_blank" rel="noopener noreferrer">pixel</a></p>'),
    ("- a\n- b\n  - c\n\n    d\n- e\n\nafter",
     "<ul><li>a</li><li>b<ul><li><p>c</p><p>d</p></li></ul></li><li>e</li></ul><p>after</p>"),
    ("3. a\n4. b\n- [x] c\n- [ ] d", '<ol start="3"><li>a</li><li>b</li></ol><ul><li>☑ c</li><li>☐ d</li></ul>'),
    ("> a\n> - b\n\n---\n1984. was", "<blockquote><p>a</p><ul><li>b</li></ul></blockquote><hr>"
     '<ol start="1984"><li>was</li></ol>'),
    ("| a | b |\n|---|--:|\n| `x` | y \\| z |\n\nend",
     '<div class="table" tabindex="0" role="region" aria-label="Tabella"><table><thead><tr><th scope="col">a</th>'
     '<th scope="col" class="align-right">b</th></tr></thead><tbody><tr><td><code>x</code></td>'
     '<td class="align-right">y | z</td></tr></tbody></table></div><p>end</p>'),
    ("|a|b|\n|-|-|\n|c|\n|d|e|f|", '<div class="table" tabindex="0" role="region" aria-label="Tabella"><table><thead><tr>'
     '<th scope="col">a</th><th scope="col">b</th></tr></thead><tbody><tr><td>c</td></tr><tr><td>d</td><td>e</td></tr>'
     '</tbody></table></div>'),
    ("|" * 102 + "\n" + "|-" * 101, "<p>" + "|" * 102 + "<br>" + "|-" * 101 + "</p>"),
    ("~~~ c`d\ne\n~~~", '<div class="code"><div class="code-head"><span class="code-language">c</span>'
     '<button type="button" class="code-copy">Copia</button></div><pre tabindex="0"><code>e</code></pre></div>'),
    ("[a](  https://e.org/\\(b  'c'  )",
     '<p><a href="https://e.org/(b" target="_blank" rel="noopener noreferrer">a</a></p>'),
    ("(https://e.org/a_(b)!)",
     '<p>(<a href="https://e.org/a_(b)" target="_blank" rel="noopener noreferrer">https://e.org/a_(b)</a>!)</p>'),
    ("1. a\n   ```sh\n   ls | wc\n   ```\n2. b",
     '<ol><li>a<div class="code"><div class="code-head"><span class="code-language">sh</span>'
     '<button type="button" class="code-copy">Copia</button></div>'
     '<pre tabindex="0"><code>ls | wc</code></pre></div></li><li>b</li></ol>'),
]
# Each would be slow, or deep, in a careless renderer.
HOSTILE = [
    "*" * 20_000, "**a " * 8_000, "_a*b" * 6_000, "[" * 20_000, "](" * 10_000, "![a" * 5_000 + "](b)" * 5_000,
    "`" * 9_999, "".join("`" * n + "a" for n in range(150)), "<a" * 10_000, "&" * 20_000, "https://" * 2_000,
    "\\" * 20_001, "> " * 8_000, "- " * 8_000, "1. " * 8_000, "#" * 20_000, "```\n" + "x\n" * 20_000,
    "| a " * 4_000 + "\n" + "|-" * 4_000 + "|", "|a" * 3_000 + "|\n" + "|-" * 3_000 + "|\n" + "|b|\n" * 1_500,
    "|a" * 100 + "|\n" + "|-" * 100 + "|\n" + "|b|\n" * 5_000, "|a\n" + " " * 100_000 + "x",
    "[a](" + " " * 100_000 + "x", "[a](x" + " " * 100_000 + "x", "[a](" * 25_000 + " x", "[a](b \"" * 15_000,
    "```" + "a" * 100_000 + "`", "```" + " " * 100_000 + "`", ("https://a" + ")" * 2_040 + " ") * 50,
    "# " + " " * 100_000 + "\u2028", "- " + " " * 100_000 + "\u2028",
]
ALLOWED = set(
    "h3 h4 h5 h6 p hr blockquote ul ol li table thead tbody tr th td div pre code span button em strong del a br"
    .split())


def rendering(base, folder):
    """Any pool. Markdown is shown as it should be, the same in pieces as whole, and nothing in it becomes HTML."""
    with Page(base) as page:
        page.driver.set_script_timeout(120)

        def render(cases):
            results = page.driver.execute_async_script(RENDER, cases)
            assert not isinstance(results, str), results
            for _, pieces in zip(cases, results):
                names = set(re.findall(r"<(\w+)", pieces[0] + pieces[1]))
                assert names <= ALLOWED and "onerror=" not in re.sub(r">[^<]*<", "><", pieces[0]), names - ALLOWED
            return results

        for (text, expected), (whole, in_pieces, _) in zip(RENDERED, render([list(text) for text, _ in RENDERED])):
            assert whole == expected, (text, whole)
            assert in_pieces == expected, (text, in_pieces)

        seed = random.randrange(2**32)
        generator = random.Random(seed)
        parts = [
            "\n", "\n\n", "  ", "   ", "\t", "- ", "1. ", "> ", "# ", "---", "```", "```js\n", "|", "|---|", "**", "*",
            "_", "`", "~~", "!", "[", "](", ")", "https://e.org", "a", "word ", "<script>", "<br>", "&lt;", "\\",
        ]
        cases = [[generator.choice(parts) for _ in range(generator.randrange(1, 60))] for _ in range(1500)]
        for pieces, (whole, in_pieces, _) in zip(cases, render(cases)):
            assert whole == in_pieces, (seed, "".join(pieces), whole, in_pieces)

        def in_twenty(text):
            size = len(text) // 20 + 1
            return [text[at:at + size] for at in range(0, len(text), size)]

        for text, (_, _, milliseconds) in zip(HOSTILE, render([in_twenty(text) for text in HOSTILE])):
            assert milliseconds < 4000, f"{milliseconds} ms for 20 times {text[:20]!r}"
        page.expect_no_faults()
