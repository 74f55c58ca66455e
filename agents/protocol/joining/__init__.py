"""How a machine joins as the agent of a site: the token, and what is asked over HTTPS.

It knows the rest of the protocol only by its codec and its bounds. Start with `token.py`;
`messages.py` has the requests and the answers.
"""
