# An interpreter such as an agent's: it has loaded what its user's first line may need, and then answers one question after another.
import argparse, asyncio, collections, concurrent.futures, csv, ctypes, dataclasses, datetime, decimal, difflib, email.message, fractions
import hashlib, html.parser, http.client, http.server, inspect, json, logging.config, lzma, multiprocessing.pool, os, pathlib, pdb, pickle
import random, re, shutil, sqlite3, ssl, statistics, subprocess, sys, tarfile, tempfile, threading, typing, unittest.mock, urllib.request
import uuid, xml.etree.ElementTree, zipfile, zoneinfo

os.mkfifo("/tmp/ask")
os.mkfifo("/tmp/answer")
open("/tmp/ready", "w").close()
asked = 0
while True:
    with open("/tmp/ask") as ask:
        question = ask.read()
    asked += 1
    with open("/tmp/answer", "w") as answer:
        print(eval(question), file=answer)
