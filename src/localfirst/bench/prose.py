"""A text to be foretold, which no model was trained on before: written for this, and published with it.

Now that it is public, models will have read it some day. For a figure to be sure of, give a text of your own.
"""

NAME = "built-in text"

PROSE = """\
The ferry to Lindholm leaves at ten past six, whether or not anybody is on it. In winter the captain is often alone with
the mail and a crate of fish, and he says that those are the best crossings, because the crate does not ask when we will
be there. On the morning that I want to tell about, three people waited at the pier: a woman with a cello, a boy who had
lost one of his gloves, and my uncle, who had promised to repair the lighthouse clock and had brought the wrong tools.

"You could use a spoon," said the boy, when he had heard the whole story.

"For a clock?"

"My grandmother opens everything with a spoon."

My uncle thought about it for as long as it took to pass the second buoy. Then he asked the captain for a spoon, and the
captain, who had been listening, gave him two.

A clock of that kind is simpler than it looks. A weight pulls a chain, the chain turns a drum, and a pendulum lets the
drum go on by one tooth at a time. If the pendulum is too long, the clock loses time; if it is too short, it gains. When
the air is warm, the rod grows by a fraction of a millimetre, and a good clock of 1890 was wrong by about half a second
a day for every degree. That is why the better ones hang their weight on a frame of brass and steel: the two metals
stretch by different amounts, and what one adds the other takes away.

To measure such a thing one needs patience rather than instruments. Write down what the clock shows at noon, and what
it shows at noon a week later. Divide the difference by seven. Do it again in another week, and if the second figure is
not close to the first, do not touch the screw: something else has changed. Most repairs fail because somebody turned
the screw too early.

    def rate(readings):
        first, last = readings[0], readings[-1]
        days = (last.day - first.day) or 1
        return (last.seconds - first.seconds) / days

The function above returns the seconds that a clock gains in a day, and a negative number if it loses them. It does not
check whether the readings are in order, so whoever calls it should sort them first.

What happened to the lighthouse? The keeper, Mrs. Aune, had stopped the clock herself. It struck the hours so loudly
that the gulls complained, she said, and the gulls complained so loudly that she could not sleep. She had told the
harbour office that it was broken, since nobody comes to repair what works. My uncle took the hammer off the bell,
wrapped it in the boy's remaining glove, and tied it with a string of the cello, the thinnest one, which the woman said
she never used. From then on the clock struck like someone knocking politely at a door.

He gave both spoons back. The report that he wrote to the office has four sentences, of which three are true: the clock
was inspected; a part was replaced; the rate is within two seconds a week; and no further visit will be necessary for
the next ten years. He went there again in spring, of course, and in the spring after it, always by the ferry at ten
past six, and never with the right tools.
"""
