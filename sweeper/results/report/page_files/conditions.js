// Conditions as on the command line, such as `accuracy >= 0.9 and (time < 3 or task = digits-10)`: the same grammar as
// sweeper/conditions.py, and a test that compares both. Nothing is evaluated as script.
const conditionOf = (text) => {
  const NAME = /[A-Za-z_][\w.\-]*/y, OPERATOR = />=|<=|==|!=|>|<|=(?!>)/y, QUOTED = /"[^"]*"|'[^']*'/y;
  const JOIN = /(and|or)(?![\w.\-])/iy, DEEPEST = 50;
  let at = 0, depth = 0;
  const match = (pattern, from) => {
    pattern.lastIndex = from;
    return pattern.exec(text);
  };
  const go = (to) => {
    while (to < text.length && /\s/.test(text[to])) to += 1;
    at = to;
  };
  const problem = (expected) =>
    new Error(`expected ${expected} ${at < text.length ? `at “${text.slice(at)}”` : "at its end"}`);
  const joined = (word) => {
    const parts = [word === "or" ? joined("and") : one()];
    for (let found; (found = match(JOIN, at)) && found[1].toLowerCase() === word; ) {
      go(JOIN.lastIndex);
      parts.push(word === "or" ? joined("and") : one());
    }
    return word === "or" ? (row) => parts.some((part) => part(row)) : (row) => parts.every((part) => part(row));
  };
  const one = () => {
    go(at);
    if (text[at] !== "(") return comparison();
    if (depth === DEEPEST) throw new Error(`more than ${DEEPEST} parentheses stand inside each other`);
    depth += 1;
    go(at + 1);
    const found = joined("or");
    if (text[at] !== ")") throw problem("“)”");
    depth -= 1;
    go(at + 1);
    return found;
  };
  const comparison = () => {
    const name = match(NAME, at);
    if (!name) throw problem("the name of a column");
    go(NAME.lastIndex);
    const operator = match(OPERATOR, at);
    if (!operator) throw problem("one of >= <= > < = !=");
    go(OPERATOR.lastIndex);
    const word = value();
    const column = byName.get(name[0]);
    if (!column) throw new Error(`there is no column “${name[0]}”; there are: ${columns.map((c) => c.name).join(", ")}`);
    return compared(column, operator[0] === "==" ? "=" : operator[0], word);
  };
  const value = () => {
    const quoted = match(QUOTED, at);
    if (quoted) {
      go(QUOTED.lastIndex);
      return quoted[0];
    }
    let end = at, opened = 0;
    for (; end < text.length; end += 1) {
      if (text[end] === ")" && opened === 0) break;
      if (/\s/.test(text[end]) && match(JOIN, end + 1)) break;
      opened += (text[end] === "(") - (text[end] === ")");
    }
    const word = text.slice(at, end).trim();
    if (!word || "<>=!".includes(word[0])) throw problem("a value");
    go(end);
    return word;
  };
  const found = joined("or");
  if (at < text.length) throw problem("“and”, “or” or the end");
  return found;
};

// Returns whether a row's value stands so to a word; a row without a value meets no comparison with it.
const compared = (column, operator, word) => {
  const isNumber = /^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(word);
  const isQuoted = word.length > 1 && word[0] === word.at(-1) && "'\"".includes(word[0]);
  let wanted;
  if (column.kind === "number") {
    if (!isNumber) throw new Error(`${column.name} is a number, but “${word}” is none`);
    wanted = Number(word);
  } else {
    if (operator !== "=" && operator !== "!=") throw new Error(`${column.name} has no order: use = or !=`);
    if (column.kind === "bool") {
      if (!/^(true|false|1|0)$/i.test(word)) throw new Error(`${column.name} is true or false, but not “${word}”`);
      wanted = /^(true|1)$/i.test(word);
    } else if (column.kind === "list") {
      throw new Error(`${column.name} is a list: ask about another column`);
    } else if (isNumber) {
      throw new Error(`${column.name} is a word, but ${word} is a number: write "${word}" if the word is meant`);
    } else wanted = isQuoted ? word.slice(1, -1) : word;
  }
  const meets = {
    ">=": (value) => value >= wanted,
    "<=": (value) => value <= wanted,
    ">": (value) => value > wanted,
    "<": (value) => value < wanted,
    "=": (value) => value === wanted,
    "!=": (value) => value !== wanted,
  }[operator];
  return (row) => column.values[row] !== null && meets(column.values[row]);
};
