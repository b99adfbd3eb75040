from tests.oauth import app as app
from tests.oauth import installed as installed
from tests.oauth import portal as portal
from tests.oauth import simulator as simulator
