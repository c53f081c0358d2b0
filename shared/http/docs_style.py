"""Owns the look of the documentation pages: one style sheet, nothing from elsewhere.

Must not fall below a contrast of 4.5 to 1 in light or dark.
"""

STYLE = b"""\
:root {
  --ink: #1a1f26; --soft: #4a5563; --paper: #ffffff; --panel: #f4f6f8; --line: #d5dbe1;
  --link: #1d4f91; --code: #f4f6f8; --get: #1d4f91; --post: #1b6b3a; --other: #8a4b08;
  --warn: #8f1d1d;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6e9ed; --soft: #aab4c0; --paper: #14181d; --panel: #1c2229; --line: #343d47;
    --link: #8ab8f5; --code: #1c2229; --get: #8ab8f5; --post: #7fd1a0; --other: #f0b775;
    --warn: #f59a9a;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body {
  margin: 0; color: var(--ink); background: var(--paper);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
a { color: var(--link); text-underline-offset: 2px; }
a:focus-visible, summary:focus-visible {
  outline: 3px solid var(--link); outline-offset: 2px; border-radius: 2px;
}
.skip { position: absolute; left: -999rem; }
.skip:focus { left: 1rem; top: 1rem; background: var(--paper); padding: .5rem 1rem; }
.frame { display: grid; grid-template-columns: 19rem minmax(0, 1fr); min-height: 100vh; }
nav {
  background: var(--panel); border-right: 1px solid var(--line); padding: 1.5rem 1.25rem;
  position: sticky; top: 0; height: 100vh; overflow-y: auto; font-size: .875rem;
}
nav h2 { font-size: .8125rem; margin: 1.5rem 0 .375rem; color: var(--soft); font-weight: 600; }
nav ul { list-style: none; margin: 0; padding: 0; }
nav li a {
  display: block; padding: .1875rem 0; text-decoration: none; color: var(--ink);
  overflow-wrap: anywhere;
}
nav li a:hover { text-decoration: underline; }
nav .home { font-weight: 700; font-size: 1rem; color: var(--ink); text-decoration: none; }
main { padding: 2.5rem clamp(1.25rem, 4vw, 4rem) 6rem; max-width: 64rem; }
main.page { margin: 0 auto; max-width: 46rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.01em; }
h2 { font-size: 1.375rem; margin: 3.5rem 0 0; padding-bottom: .375rem;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 1.125rem; margin: 0; }
h4 { font-size: .875rem; margin: 1.5rem 0 .5rem; color: var(--soft); font-weight: 600; }
p { margin: .5rem 0; max-width: 68ch; }
.lead { color: var(--soft); }
article { padding: 1.75rem 0 2rem; border-bottom: 1px solid var(--line); }
article:last-child { border-bottom: 0; }
.address { font-family: var(--mono); font-size: .9375rem; margin: .25rem 0 .75rem;
  overflow-wrap: anywhere; }
.method { font-weight: 700; margin-right: .5rem; color: var(--other); }
.method.get { color: var(--get); } .method.post { color: var(--post); }
nav .method { font: 700 .6875rem/1 var(--mono); margin-right: .375rem; }
code { font-family: var(--mono); font-size: .9em; }
p code, td code { background: var(--code); padding: .0625rem .25rem; border-radius: 3px; }
pre { background: var(--code); border: 1px solid var(--line); border-radius: 6px; margin: 0;
  padding: .875rem 1rem; overflow-x: auto; font: .8125rem/1.5 var(--mono); }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9063rem; }
th, td { text-align: left; vertical-align: top; padding: .4375rem .75rem .4375rem 0;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); font-size: .8125rem; }
td:first-child { white-space: nowrap; }
tr:last-child td { border-bottom: 0; }
.must { color: var(--warn); font-size: .8125rem; }
.type { color: var(--soft); font-family: var(--mono); font-size: .8125rem;
  overflow-wrap: anywhere; }
.who { color: var(--soft); font-size: .9063rem; }
details { margin-top: .75rem; }
summary { cursor: pointer; color: var(--link); font-size: .9063rem; }
details pre { margin-top: .5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .375rem 1.25rem; }
dt { color: var(--soft); } dd { margin: 0; }
@media (max-width: 56rem) {
  .frame { display: block; }
  nav { position: static; height: auto; max-height: 45vh; border-right: 0;
    border-bottom: 1px solid var(--line); }
}
@media print { nav { display: none; } .frame { display: block; } }
"""
